"""The event: one thing Linq told us, as the envelope fields that rules and subscribers need, and the raw body.

A `VerifiedWebhook` is what the ingress has verified and read (only `linq.signatures.verify` makes one); an `Event` is a
webhook that the router has decoded: its line, chat and so on are known. Both hold the body that Linq signed, byte for
byte.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Freshness(StrEnum):
    """Whether an event is news or was recovered later by Linq (`data.reconciled_at`) and belongs to the past."""

    LIVE = "live"
    HISTORY = "history"


class Dialect(StrEnum):
    """Which of Linq's webhook APIs an event came through."""

    V2 = "v2"
    V3 = "v3"


ACCOUNT = "account"
"""The owner of the v3 subscription that is bound to no line."""


def owner_of(dialect: Dialect, line: str | None) -> str:
    """Whose a Linq subscription is: a line's (E.164), the account's, or v2's, which has one for all lines."""
    return Dialect.V2.value if dialect is Dialect.V2 else line or ACCOUNT


class VerifiedWebhook(NamedTuple):
    """A verified webhook, as it enters the inbox."""

    id: str
    """Linq's `event_id`, the key of the dedupe."""
    type: str
    dialect: Dialect
    webhook_id: str
    """The `webhook-id` header that Linq signed; the event id where it sent none."""
    line: str | None
    """The line whose secret verified the signature; None for a Linq subscription that is not bound to one."""
    body: bytes
    generation: int = 0
    """The `gen` of the Linq subscription whose secret verified it; 0 where there is none."""


class PayloadFields(NamedTuple):
    """What the payload says about itself. None where this event type does not say."""

    line: str | None = None
    chat: str | None = None
    message: str | None = None
    direction: str | None = None
    """`inbound` or `outbound`."""
    service: str | None = None
    """`iMessage`, `RCS` or `SMS`."""
    is_group: bool | None = None
    reconciled_at: str | None = None


class Event(NamedTuple):
    """An event that can be matched against rules."""

    id: str
    type: str
    version: str
    """The payload's shape: a v3 `webhook_version` such as `2026-02-03`, or `v2`."""
    line: str | None
    """The line the event belongs to, E.164: from the authenticated URL, else from the payload, else the one that an
    earlier event of its chat proved.
    """
    fields: PayloadFields
    created_at: str | None = None
    """When Linq made the event, as Linq wrote it (RFC 3339, up to nanoseconds)."""
    trace_id: str | None = None

    @property
    def freshness(self) -> Freshness:
        """History if Linq recovered the event later, else live."""
        return Freshness.HISTORY if self.fields.reconciled_at else Freshness.LIVE
