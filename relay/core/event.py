"""The event: the envelope fields that rules and subscribers need.

A `VerifiedWebhook` is a request that the ingress has verified, with the body that Linq signed, byte for byte; only
`linq.signatures.verify` creates one. An `Event` is the result of the router's decoding: its line, chat and so on are
known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Freshness(StrEnum):
    """Freshness of an event: live, or recovered later by Linq (`data.reconciled_at`)."""

    LIVE = "live"
    HISTORY = "history"


class Dialect(StrEnum):
    """Webhook API of Linq through which an event arrived."""

    V2 = "v2"
    V3 = "v3"


def api_of(version: str) -> Dialect:
    """Return the API whose payloads have this version."""
    return Dialect.V2 if version == "v2" else Dialect.V3


ACCOUNT = "account"
"""Owner of the v3 subscription that is not bound to a line."""


def owner_of(dialect: Dialect, line: str | None, account: str | None = None) -> str:
    """Return the owner of a Linq subscription: a line (E.164), the account, or v2, which has one for all lines.

    In an account of `[[linq.accounts]]` its name comes first, such as `sales/+16465550123`.
    """
    owner = Dialect.V2.value if dialect is Dialect.V2 else line or ACCOUNT
    return owner if account is None else f"{account}/{owner}"


def source_name(dialect: Dialect, account: str | None) -> str:
    """Return the API, and the account of `[[linq.accounts]]` if it is one of these: `v3`, `v2` or `v3/sales`."""
    return dialect.value if account is None else f"{dialect.value}/{account}"


def source_of(name: str) -> tuple[Dialect, str | None]:
    """Return API and account of a `source_name`; v3 for what is none."""
    api, _, account = name.partition("/")
    return Dialect.V2 if api == Dialect.V2 else Dialect.V3, account or None


class VerifiedWebhook(NamedTuple):
    """Verified webhook, as it enters the inbox."""

    id: str
    """Linq's `event_id`, the deduplication key."""
    type: str
    dialect: Dialect
    webhook_id: str
    """The `webhook-id` header that Linq signed; the event id if there is none."""
    line: str | None
    """The line whose secret verified the signature; None for a Linq subscription that is not bound to one."""
    body: bytes
    generation: int = 0
    """The `gen` of the Linq subscription whose secret verified it; 0 if there is none."""
    trace: str | None = None
    """Linq's trace id."""
    remote: str | None = None
    """IP address from which it came: of Linq, or of the load balancer in front."""
    account: str | None = None
    """The account of `[[linq.accounts]]` whose secret verified it."""
    keyed: Mapping[str, object] | None = None
    """The fields of the payload that name its shard (`linq.payloads.shard_key`); None if they were not read."""


class PayloadFields(NamedTuple):
    """Fields of the payload. None if this event type does not have the field."""

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
    """Decoded event, which can be matched against rules."""

    id: str
    type: str
    version: str
    """The payload's shape: a v3 `webhook_version` such as `2026-02-03`, or `v2`."""
    line: str | None
    """Line of the event, E.164: from the authenticated URL, else from the payload, else from an earlier event of its
    chat.
    """
    fields: PayloadFields
    created_at: str | None = None
    """Time at which Linq created the event, as Linq wrote it (RFC 3339, up to nanoseconds)."""
    trace_id: str | None = None
    account: str | None = None
    """The account of `[[linq.accounts]]` from which it came, by the authenticated URL."""

    @property
    def api(self) -> Dialect:
        """Webhook API of Linq through which it arrived."""
        return api_of(self.version)

    @property
    def freshness(self) -> Freshness:
        """History if Linq recovered the event later, else live."""
        return Freshness.HISTORY if self.fields.reconciled_at else Freshness.LIVE
