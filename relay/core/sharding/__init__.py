"""Shards: which one has an event."""
