"""Scopes: the rights of a token."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A right of a token; a closed set."""

    READ = "read"
    """Look at topics, subscriptions, events and attempts."""
    SUBSCRIBE = "subscribe"
    """Create, change, pause, test and delete subscriptions and pull groups, and pull events."""
    REPLAY = "replay"
    """Replay and resend events, and replay and drop dead letters."""
    ADMIN = "admin"
    """Manage tokens; without a team also teams, quarantine and whatever else an operator may."""


EVERY_SCOPE = frozenset(Scope)
