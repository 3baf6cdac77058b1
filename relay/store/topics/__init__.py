"""Routed events: topic streams, their history, replays and retention."""
