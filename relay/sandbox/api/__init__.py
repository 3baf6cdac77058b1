"""Linq's v3 and v2 HTTP APIs, as the sandbox serves them."""
