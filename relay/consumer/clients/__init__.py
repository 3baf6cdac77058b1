"""Clients of Redis: opened from a URL, or the caller's; and the steps of a protocol, sent by them."""
