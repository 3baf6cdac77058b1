"""Access: scopes and principals."""
