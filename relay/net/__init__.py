"""Listening sockets, name resolution, TLS."""
