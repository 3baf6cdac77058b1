"""The admin role: a process that serves operators, and neither receives nor delivers events."""
