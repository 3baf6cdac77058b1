"""The payload versions of v3, which a target URL selects with `?version=`."""

from __future__ import annotations

NEW = "2026-02-03"
OLD = "2025-01-01"


def exists_in(event_type: str, version: str) -> bool:
    """Return True if Linq delivers events of this type in this payload version."""
    return not (event_type == "message.edited" and version == OLD)
