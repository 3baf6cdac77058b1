"""Linq's v3 and v2 HTTP APIs as served by the sandbox."""
