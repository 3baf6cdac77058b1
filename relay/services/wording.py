"""Texts that the command line, the API and the page have in common."""

from __future__ import annotations

IN_FILE, BY_API = "relay.toml", "API"
"""The origin of a team; the command line and the page make them as the API does."""


def counted(count: int, thing: str) -> str:
    """Return a number of things, such as `1 change` or `2 changes`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
