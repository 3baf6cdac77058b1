"""Clients of Linq's v3 and v2 subscription APIs."""
