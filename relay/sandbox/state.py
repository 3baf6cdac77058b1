"""In-memory state of the sandbox: lines, webhook subscriptions, faults, and deliveries with their attempts."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from relay.core.secret import SigningSecret, new_secret
from relay.sandbox.faults.active import Faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DELIVERIES = 20_000
DEFAULT_ROUTING_ID_HEADER = "Linq-Chat-Id"
_MAX_TOKENS = 10_000


@dataclass(slots=True)
class Subscription:
    """A webhook subscription of the v3 API."""

    target_url: str
    events: list[str]
    phone_numbers: list[str]
    routing_key_header: str | None = None
    """Header of the routing token; None while delivery affinity is off."""
    routing_id_header: str | None = None
    """Header of the chat id; None for the default."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: SigningSecret = field(default_factory=lambda: SigningSecret(new_secret()))
    is_active: bool = True
    created_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    updated_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    account: str = ""
    """The API key of its account; empty for the first one."""
    tokens: dict[str, str] = field(default_factory=dict)
    """The latest routing token of each chat, from least to most recently learned."""

    def matches(self, event_type: str, line: str | None) -> bool:
        """Return True if Linq would send it an event of this type and line."""
        return self.is_active and event_type in self.events and (not self.phone_numbers or line in self.phone_numbers)

    @property
    def id_header(self) -> str | None:
        """The effective header of the chat id; None while delivery affinity is off."""
        return (self.routing_id_header or DEFAULT_ROUTING_ID_HEADER) if self.routing_key_header else None

    def learn_token(self, chat: str, token: str) -> None:
        """Store the routing token of a chat; evict the least recently learned above the limit."""
        self.tokens.pop(chat, None)
        self.tokens[chat] = token
        if len(self.tokens) > _MAX_TOKENS:
            del self.tokens[next(iter(self.tokens))]

    def as_json(self) -> dict[str, Any]:
        """Return the subscription as the API does, without its secret."""
        return {
            "id": self.id,
            "target_url": self.target_url,
            "subscribed_events": self.events,
            "phone_numbers": self.phone_numbers or None,
            "routing_key_header": self.routing_key_header,
            "routing_id_header": self.id_header,
            "is_active": self.is_active,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


@dataclass(slots=True)
class V2Subscription:
    """A webhook subscription of the older v2 API; its secret is chosen by the caller."""

    id: int
    webhook_url: str
    events: list[str]
    secret: str | None = None
    active: bool = True
    last_delivered_at: str | None = None
    delivery_attempts: int = 0
    created_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    updated_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))

    def matches(self, event_type: str) -> bool:
        """Return True if Linq would send it an event of this type; v2 has no line filter."""
        return self.active and event_type in self.events

    def as_json(self) -> dict[str, Any]:
        """Return the subscription as the API does, without its secret."""
        return {
            "id": self.id,
            "webhook_url": self.webhook_url,
            "version": 2,
            "events": self.events,
            "active": self.active,
            "secret_configured": bool(self.secret),
            "last_delivered_at": self.last_delivered_at,
            "delivery_attempts": self.delivery_attempts,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """A single POST."""

    at: str
    """Start, RFC 3339."""
    ms: int
    """Duration, milliseconds."""
    status: int | None
    """HTTP status; None without a response."""
    error: str
    """The network error; empty without one."""


@dataclass(slots=True)
class Delivery:
    """The delivery of one event to one subscription."""

    event_id: str
    event_type: str
    line: str | None
    subscription_id: str
    state: str = "sending"
    """`held` (delayed by a fault), `sending`, `waiting` (for the next attempt), `delivered` or `failed`."""
    api: str = "v3"
    faults: tuple[str, ...] = ()
    """Kinds of the faults that were applied to it."""
    attempts: list[Attempt] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the delivery and its attempts, for `GET /sandbox/deliveries`."""
        return {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "line": self.line,
            "subscription_id": self.subscription_id,
            "api": self.api,
            "state": self.state,
            "faults": self.faults,
            "attempts": [{"at": a.at, "ms": a.ms, "status": a.status, "error": a.error} for a in self.attempts],
        }


class SandboxState:
    """The state of one sandbox."""

    def __init__(self, lines: Sequence[str], accounts: Mapping[str, Sequence[str]] | None = None) -> None:
        """`accounts` are the lines of further accounts, by their API key."""
        self.accounts = {key: list(own) for key, own in (accounts or {}).items()}
        self.lines = list(dict.fromkeys([*lines, *chain.from_iterable(self.accounts.values())]))
        """The lines of all accounts."""
        self.forwarding: dict[str, str] = {}
        """Line -> number that its calls are forwarded to."""
        self.reputations: dict[str, str] = {}
        """Line -> reputation that is not HEALTHY."""
        self.subscriptions: dict[str, Subscription] = {}
        self.foreign: set[str] = set()
        """Ids of webhook subscriptions of another account."""
        self.v2_subscriptions: dict[int, V2Subscription] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=MAX_DELIVERIES)
        self.faults = Faults()

    def deliveries_of(self, event_id: str | None, subscription_id: str | None, state: str | None) -> list[Delivery]:
        """Return the deliveries that match all given values; None matches any."""
        return [
            delivery
            for delivery in self.deliveries
            if event_id in {None, delivery.event_id}
            and subscription_id in {None, delivery.subscription_id}
            and state in {None, delivery.state}
        ]

    def disable(self, subscription_id: str | None, line: str | None) -> list[Subscription | V2Subscription]:
        """Disable the subscription with this id (of either API) or those that filter by `line`; return them."""
        found = [
            subscription
            for subscription in self.subscriptions.values()
            if subscription.id == subscription_id or (line is not None and line in subscription.phone_numbers)
        ]
        for subscription in found:
            subscription.is_active = False
            subscription.updated_at = rfc3339(datetime.now(UTC))
        found_v2 = [
            subscription for subscription in self.v2_subscriptions.values() if str(subscription.id) == subscription_id
        ]
        for v2_subscription in found_v2:
            v2_subscription.active = False
        return [*found, *found_v2]

    def as_json(self) -> dict[str, Any]:
        """Return lines, subscriptions, faults and counts of deliveries, for `GET /sandbox/state`."""
        return {
            "lines": self.lines,
            "subscriptions": [subscription.as_json() for subscription in self.subscriptions.values()],
            "v2_subscriptions": [subscription.as_json() for subscription in self.v2_subscriptions.values()],
            "foreign_subscriptions": sorted(self.foreign),
            "faults": [fault.as_json() for fault in self.faults.active],
            "deliveries": dict(Counter(delivery.state for delivery in self.deliveries)),
        }

    def account_of(self, line: str) -> str:
        """Return the API key of the account of a line; empty for the first one."""
        return next((key for key, own in self.accounts.items() if line in own), "")

    def lines_of(self, account: str) -> list[str]:
        """Return the lines of an account."""
        return [line for line in self.lines if self.account_of(line) == account]

    def set_flagged(self, line: str, *, is_flagged: bool) -> None:
        """Give a line the reputation of a flagged or of a healthy one."""
        self.reputations.pop(line, None)
        if is_flagged:
            self.reputations[line] = "CRITICAL"

    def phone_numbers(self, account: str = "") -> list[dict[str, Any]]:
        """Return the lines of an account as `GET /v3/phone_numbers` lists them."""
        return [
            {
                "id": line_id(line),
                "phone_number": line,
                "forwarding_number": self.forwarding.get(line),
                "reputation": _reputation(self.reputations.get(line, "HEALTHY")),
                "line_type": "iMessage",
            }
            for line in self.lines_of(account)
        ]


def _reputation(status: str) -> dict[str, Any]:
    doc = "https://docs.linqapp.com/guides/phone-numbers/phone-reputation"
    return {"status": status, "doc_url": f"{doc}#{status.lower().replace('_', '-')}"}


def line_id(line: str) -> str:
    """Return the id of a line in v3, the same in every sandbox."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, line))


def rfc3339(time: datetime) -> str:
    """Format a time as Linq does: UTC, milliseconds, `Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
