"""What the sandbox knows: its lines, the webhook subscriptions made at it, and every delivery with its attempts."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relay.core.secret import SigningSecret, new_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

_DELIVERIES_KEPT = 20_000


@dataclass(slots=True)
class Subscription:
    """One webhook subscription."""

    target_url: str
    events: list[str]
    phone_numbers: list[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: SigningSecret = field(default_factory=lambda: SigningSecret(new_secret()))
    is_active: bool = True
    created_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))
    updated_at: str = field(default_factory=lambda: rfc3339(datetime.now(UTC)))

    def wants(self, event_type: str, line: str | None) -> bool:
        """Whether Linq would send it an event of this type and line."""
        return self.is_active and event_type in self.events and (not self.phone_numbers or line in self.phone_numbers)

    def shown(self) -> dict[str, Any]:
        """The subscription as the API shows it; without its secret."""
        return {
            "id": self.id,
            "target_url": self.target_url,
            "subscribed_events": self.events,
            "phone_numbers": self.phone_numbers or None,
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
    """`sending`, `waiting` (for its next attempt), `delivered` or `failed`."""
    attempts: list[Attempt] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """The delivery and its attempts, for `/sandbox/deliveries`."""
        return {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "line": self.line,
            "subscription_id": self.subscription_id,
            "state": self.state,
            "attempts": [{"at": a.at, "ms": a.ms, "status": a.status, "error": a.error} for a in self.attempts],
        }


class SandboxState:
    """Everything above, in memory."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        self.subscriptions: dict[str, Subscription] = {}
        self.v2_subscriptions: dict[int, V2Subscription] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=_DELIVERIES_KEPT)

    def phone_numbers(self) -> list[dict[str, Any]]:
        """The lines as `GET /v3/phone_numbers` lists them."""
        return [
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, line)),
                "phone_number": line,
                "forwarding_number": None,
                "reputation": {
                    "status": "HEALTHY",
                    "doc_url": "https://docs.linqapp.com/guides/phone-numbers/phone-reputation#healthy",
                },
                "line_type": "iMessage",
            }
            for line in self.lines
        ]


def rfc3339(moment: datetime) -> str:
    """`moment` as Linq writes times: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
