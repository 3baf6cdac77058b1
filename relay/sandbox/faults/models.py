"""Models of the faults that can be injected: misbehaviour of Linq in deliveries and API calls.

A fault hits the events or calls that match its filter, or a random `share` of them (repeatable by `seed`), until it has
hit `count` of them or is removed. `active.py` combines several faults.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from relay.core.config.fields import Line, Pattern
from relay.core.patterns import matches


class _Fault(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    count: int | None = Field(None, ge=1)
    """Number of hits; without one, no limit."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of the matching events or calls that it hits."""
    seed: int = 1
    """Seed of its random choices: the same one makes the same."""


class DeliveryFault(_Fault):
    """A fault in deliveries."""

    events: tuple[Pattern, ...] = ("*",)
    """Only events of these types, such as `message.*`."""
    line: Line | None = None
    """Only events of this line."""

    def matches(self, event_type: str, line: str | None) -> bool:
        """Return True if its filter matches the event."""
        return self.line in {None, line} and any(matches(pattern, event_type) for pattern in self.events)


class Duplicate(DeliveryFault):
    """Duplicates: every delivery is sent several times, in parallel."""

    kind: Literal["duplicate"] = "duplicate"
    times: int = Field(2, ge=2, le=100)
    """Number of POSTs of each delivery."""


class Reorder(DeliveryFault):
    """Reordering: events are delayed for `seconds` or until there are `window` of them, then sent in another order."""

    kind: Literal["reorder"] = "reorder"
    window: int = Field(5, ge=2, le=1000)
    """Number of events that leave together."""
    seconds: float = Field(10.0, gt=0)
    """Longest delay; `--speed` divides it."""


class Late(DeliveryFault):
    """Lateness: events are delayed for `seconds` after the first, then all sent at once with `reconciled_at`."""

    kind: Literal["late"] = "late"
    seconds: float = Field(60.0, gt=0)
    """Delay; `--speed` divides it."""


class Timestamp(DeliveryFault):
    """Wrong timestamps: off by `offset` seconds and signed; negative is stale, positive in the future."""

    kind: Literal["timestamp"] = "timestamp"
    offset: int = Field(ge=-1_000_000_000, le=1_000_000_000)
    """Seconds added to the time, such as -600."""


class Forge(DeliveryFault):
    """Forged signatures: made with a random secret, so that no receiver can verify them."""

    kind: Literal["forge"] = "forge"


class Headers(DeliveryFault):
    """Missing headers: only one of the two header families of v3 is sent."""

    kind: Literal["headers"] = "headers"
    only: Literal["standard", "legacy"]
    """The header family that is sent: Standard Webhooks, or `X-Webhook-*`."""


class Lost(DeliveryFault):
    """Loss: the event happens, but no webhook is sent, as in an outage of Linq's delivery."""

    kind: Literal["lost"] = "lost"


class ApiFault(_Fault):
    """A fault in API calls."""

    method: Literal["GET", "POST", "PUT", "DELETE"] | None = None
    """Only calls with this method."""
    path: str = Field("/", pattern="^/")
    """Prefix of the path, such as `/v3/webhook-subscriptions`."""

    def matches(self, method: str, path: str) -> bool:
        """Return True if its filter matches the call."""
        return self.method in {None, method} and path.startswith(self.path)


class ApiFailure(ApiFault):
    """Failing calls: the response is 429 or 5xx; with `after`, the call is carried out first."""

    kind: Literal["api_error"] = "api_error"
    status: Literal[429, 500, 502, 503, 504]
    """Status of the response."""
    retry_after: int = Field(1, ge=0, le=3600)
    """Seconds in the Retry-After header of a 429."""
    after: bool = False
    """Carry out the call, and then fail."""


class ApiSlow(ApiFault):
    """Slow calls: each takes `seconds` longer; `--speed` does not divide it."""

    kind: Literal["api_slow"] = "api_slow"
    seconds: float = Field(gt=0, le=600)
    """Seconds that each call takes longer."""


class ApiAnswer(ApiFault):
    """Wrong answers: calls that succeed, with a body that is not the whole truth or no answer of the API at all."""

    kind: Literal["api_answer"] = "api_answer"
    answer: Literal["short", "empty", "keyless", "malformed", "html"]
    """Lists without their second half; empty lists; lists missing; JSON that breaks off; a page of a proxy."""


class Disable(BaseModel):
    """Disabled subscriptions: the one with an id, or all that filter by a line. Applied at once, and only once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["disable"] = "disable"
    subscription_id: str | None = None
    """This subscription, of either API."""
    line: Line | None = None
    """The subscriptions that filter by this line."""

    @model_validator(mode="after")
    def _has_one_selector(self) -> Disable:
        if (self.subscription_id is None) == (self.line is None):
            raise ValueError("give either subscription_id or line")
        return self


Fault = Duplicate | Reorder | Late | Lost | Timestamp | Forge | Headers | ApiFailure | ApiSlow | ApiAnswer
FAULT_REQUEST: TypeAdapter[Fault | Disable] = TypeAdapter(Annotated[Fault | Disable, Field(discriminator="kind")])
"""The body of `POST /sandbox/faults`."""

FAULT_KINDS = tuple(model.model_fields["kind"].default for model in (*get_args(Fault), Disable))
