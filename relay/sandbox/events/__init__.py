"""Events of the sandbox: sent on request, by simulated conversations, and by account changes."""
