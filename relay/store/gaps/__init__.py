"""Accepted messages by their ids, and messages that a backfill put back."""
