"""Words of messages."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """Return a number of things, such as `1 change` or `2 changes`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
