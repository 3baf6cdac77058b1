"""Scheduled work: the sweep, replays, retention, and drift at Linq."""
