"""Events that happen in the sandbox: emitted on request, by conversations, by account changes."""
