"""What the sandbox knows: its lines, the webhook subscriptions made at it, and every delivery with its attempts."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relay.core.secret import SigningSecret, new_secret
from relay.sandbox.faults.active import Faults

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIVERIES_KEPT = 20_000
DEFAULT_ROUTING_ID_HEADER = "Linq-Chat-Id"
_TOKENS_KEPT = 10_000


@dataclass(slots=True)
class Subscription:
    """One webhook subscription."""

    target_url: str
    events: list[str]
    phone_numbers: list[str]
    routing_key_header: str | None = None
    """The header of the routing token; None while delivery affinity is off."""
    routing_id_header: str | None = None
    """The header of the chat id; None for the default."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: SigningSecret = field(default_factory=lambda: SigningSecret(new_secret()))
    is_active: bool = True
    created_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    updated_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    tokens: dict[str, str] = field(default_factory=dict)
    """The routing token that was last learned for a chat."""

    def wants(self, event_type: str, line: str | None) -> bool:
        """Whether Linq would send it an event of this type and line."""
        return self.is_active and event_type in self.events and (not self.phone_numbers or line in self.phone_numbers)

    @property
    def id_header(self) -> str | None:
        """The header of the chat id as it is used: none without a header for the token."""
        return (self.routing_id_header or DEFAULT_ROUTING_ID_HEADER) if self.routing_key_header else None

    def learn(self, chat: str, token: str) -> None:
        """Remembers the token of a chat, and forgets the oldest when there are too many."""
        self.tokens.pop(chat, None)
        self.tokens[chat] = token
        if len(self.tokens) > _TOKENS_KEPT:
            del self.tokens[next(iter(self.tokens))]

    def shown(self) -> dict[str, Any]:
        """The subscription as the API shows it; without its secret."""
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
    """One webhook subscription of the older v2 API, whose secret the caller chooses."""

    id: int
    webhook_url: str
    events: list[str]
    secret: str | None = None
    active: bool = True
    last_delivered_at: str | None = None
    delivery_attempts: int = 0
    created_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    updated_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))

    def wants(self, event_type: str) -> bool:
        """Whether Linq would send it an event of this type; v2 has no filter for lines."""
        return self.active and event_type in self.events

    def shown(self) -> dict[str, Any]:
        """The subscription as the API shows it; without its secret."""
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
    """One POST."""

    at: str
    ms: int
    status: int | None
    error: str


@dataclass(slots=True)
class Delivery:
    """One event on its way to one subscription."""

    event_id: str
    event_type: str
    line: str | None
    subscription_id: str
    state: str = "sending"
    """`held` (by a fault), `sending`, `waiting` (for its next attempt), `delivered` or `failed`."""
    api: str = "v3"
    faults: tuple[str, ...] = ()
    """The kinds of the faults that hit it."""
    attempts: list[Attempt] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """The delivery and its attempts, for `/sandbox/deliveries`."""
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
    """Everything above, in memory."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        self.forwarding: dict[str, str] = {}
        """The number that calls to a line are forwarded to."""
        self.subscriptions: dict[str, Subscription] = {}
        self.foreign: set[str] = set()
        """Ids of webhook subscriptions that belong to another account."""
        self.v2_subscriptions: dict[int, V2Subscription] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=DELIVERIES_KEPT)
        self.faults = Faults()

    def deliveries_of(self, event_id: str | None, subscription_id: str | None, state: str | None) -> list[Delivery]:
        """The deliveries of an event, to a subscription, in a state; None does not ask."""
        return [
            one
            for one in self.deliveries
            if event_id in {None, one.event_id}
            and subscription_id in {None, one.subscription_id}
            and state in {None, one.state}
        ]

    def disable(self, subscription_id: str | None, line: str | None) -> list[Subscription | V2Subscription]:
        """Switches off, as Linq might: one subscription of either API, or those filtered by a line; which they are."""
        found = [
            one
            for one in self.subscriptions.values()
            if one.id == subscription_id or (line is not None and line in one.phone_numbers)
        ]
        for one in found:
            one.is_active = False
            one.updated_at = rfc3339(datetime.now(UTC))
        found_v2 = [one for one in self.v2_subscriptions.values() if str(one.id) == subscription_id]
        for older in found_v2:
            older.active = False
        return [*found, *found_v2]

    def shown(self) -> dict[str, Any]:
        """Lines, subscriptions and faults, for `GET /sandbox/state`."""
        return {
            "lines": self.lines,
            "subscriptions": [one.shown() for one in self.subscriptions.values()],
            "v2_subscriptions": [one.shown() for one in self.v2_subscriptions.values()],
            "foreign_subscriptions": sorted(self.foreign),
            "faults": [active.shown() for active in self.faults.active],
            "deliveries": dict(Counter(delivery.state for delivery in self.deliveries)),
        }

    def phone_numbers(self) -> list[dict[str, Any]]:
        """The lines as `GET /v3/phone_numbers` lists them."""
        return [
            {
                "id": line_id(line),
                "phone_number": line,
                "forwarding_number": self.forwarding.get(line),
                "reputation": {
                    "status": "HEALTHY",
                    "doc_url": "https://docs.linqapp.com/guides/phone-numbers/phone-reputation#healthy",
                },
                "line_type": "iMessage",
            }
            for line in self.lines
        ]


def line_id(line: str) -> str:
    """The id of a line in v3: the same in every sandbox."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, line))


def rfc3339(moment: datetime) -> str:
    """`moment` as Linq writes times: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
