"""Ownership of subscriptions at Linq: the relay that owns each, and how one changes owner."""
