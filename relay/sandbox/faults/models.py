"""Faults that can be asked for: what Linq may do to deliveries and to calls of its API.

A fault hits every event or call that fits its filter, or a `share` of them (chosen by a seed), until it has hit `count`
of them or is cleared; `in_force` has the rules.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from relay.core.config.fields import Line, Pattern
from relay.core.patterns import matches


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int | None = Field(None, ge=1)
    """How many it hits; None for all until it is cleared."""
    share: float = Field(1.0, gt=0, le=1)
    """The share of what fits that it hits."""
    seed: int = 1
    """Makes what it does by chance repeatable."""


class DeliveryFault(_Fault):
    """A fault of deliveries."""

    events: tuple[Pattern, ...] = ("*",)
    line: Line | None = None
    """Only events of this line."""

    def fits(self, event_type: str, line: str | None) -> bool:
        """Whether it is meant for such an event."""
        return self.line in {None, line} and any(matches(pattern, event_type) for pattern in self.events)


class Duplicate(DeliveryFault):
    """Every delivery is sent several times at once."""

    kind: Literal["duplicate"] = "duplicate"
    times: int = Field(2, ge=2, le=100)


class Reorder(DeliveryFault):
    """Events are held back, for `seconds` or until there are `window` of them, and leave in another order."""

    kind: Literal["reorder"] = "reorder"
    window: int = Field(5, ge=2, le=1000)
    seconds: float = Field(10.0, gt=0)


class Late(DeliveryFault):
    """Events are held back for `seconds` after the first, and leave all at once, marked with `reconciled_at`."""

    kind: Literal["late"] = "late"
    seconds: float = Field(60.0, gt=0)


class Timestamp(DeliveryFault):
    """The signed timestamps are off by `offset` seconds: stale below zero, in the future above."""

    kind: Literal["timestamp"] = "timestamp"
    offset: int = Field(ge=-1_000_000_000, le=1_000_000_000)


class Forge(DeliveryFault):
    """Signatures are made with a secret that nobody has."""

    kind: Literal["forge"] = "forge"


class Headers(DeliveryFault):
    """Only one of the two header families of v3 is sent."""

    kind: Literal["headers"] = "headers"
    only: Literal["standard", "legacy"]


class ApiFault(_Fault):
    """A fault of the API."""

    method: Literal["GET", "POST", "PUT", "DELETE"] | None = None
    path: str = Field("/", pattern="^/")
    """What the path begins with, such as `/v3/webhook-subscriptions`."""

    def fits(self, method: str, path: str) -> bool:
        """Whether it is meant for such a call."""
        return self.method in {None, method} and path.startswith(self.path)


class ApiFailure(ApiFault):
    """Calls are answered 429 or 500; with `after` they are carried out all the same."""

    kind: Literal["api_error"] = "api_error"
    status: Literal[429, 500]
    retry_after: int = Field(1, ge=0, le=3600)
    """Seconds, told with a 429."""
    after: bool = False


class ApiSlow(ApiFault):
    """Calls take `seconds` longer; `--speed` does not change that."""

    kind: Literal["api_slow"] = "api_slow"
    seconds: float = Field(gt=0, le=600)


class Disable(BaseModel):
    """Linq switches subscriptions off: one by its id, or all that are filtered by a line. Done at once, and once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["disable"] = "disable"
    subscription_id: str | None = None
    line: Line | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Disable:
        if (self.subscription_id is None) == (self.line is None):
            raise ValueError("name either a subscription_id or a line")
        return self


Fault = Duplicate | Reorder | Late | Timestamp | Forge | Headers | ApiFailure | ApiSlow
FAULT_REQUEST: TypeAdapter[Fault | Disable] = TypeAdapter(Annotated[Fault | Disable, Field(discriminator="kind")])
"""What `POST /sandbox/faults` takes."""

FAULT_KINDS = tuple(one.model_fields["kind"].default for one in (*get_args(Fault), Disable))
