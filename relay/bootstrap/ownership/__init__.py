"""Ownership of subscriptions at Linq: whose they are, and how they change hands."""
