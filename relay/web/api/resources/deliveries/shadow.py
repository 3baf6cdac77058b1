"""A shadow compared with the subscription that it shadows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.delivery.outcome import Outcome
from relay.services.deliveries import shadow_report
from relay.services.deliveries.shadow_report import MAX_SHOWN
from relay.web.api.models import Input, Moment, Output, When, ms_of
from relay.web.api.operation import Call, operation
from relay.web.api.resources.deliveries.subscriptions import TAG, SubscriptionPath


class ShadowSide(Output):
    """The result of an event in one of the two."""

    outcome: Outcome
    """`delivered`, or the kind of failure."""
    status: int | None
    """The HTTP status; null without a response."""
    took_ms: int
    """Duration of the last attempt, milliseconds."""
    attempts: int
    """The number of attempts."""
    dead: str | None
    """The reason why it is a dead letter; null if it is not."""
    answer: str | None
    """The start of the answer and a digest of it; null if none was kept (`compare`)."""
    at: Moment = Field(validation_alias="at_ms")
    """Start of the last attempt."""


class ShadowDifference(Output):
    """An event that the two answered differently."""

    event: str
    """The id of the event."""
    type: str
    at: Moment = Field(validation_alias="at_ms")
    """Start of the original's last attempt."""
    differs: list[str]
    """`outcome`, `status` or `answer`."""
    original: ShadowSide
    """The result of the original."""
    shadow: ShadowSide
    """The result of the shadow."""


class ShadowMissing(Output):
    """An event that only one of the two has an attempt of."""

    event: str
    """The id of the event."""
    type: str
    at: Moment = Field(validation_alias="at_ms")
    """Start of the other one's last attempt."""
    missing_in: str
    """The subscription that has none."""
    why: str
    """The reason, as far as it is known."""


class ShadowSpeed(Output):
    """The durations of the compared attempts of one side."""

    p50_ms: int | None
    """The median, milliseconds; null without attempts."""
    p99_ms: int | None
    """The 99th percentile, milliseconds; null without attempts."""


class ShadowReport(Output):
    """A shadow compared with its original, event by event."""

    shadow: str
    """The shadow's name."""
    original: str
    """The subscription that it shadows."""
    since: Moment | None = Field(validation_alias="since_ms")
    """The start of what is compared, as far as both logs of attempts reach; null if one has nothing."""
    compared: int
    """Events that both have answered."""
    agreement: float | None
    """The share of them that is the same, from 0 to 1; null without any."""
    same: int
    """The number with the same outcome, status and, where both were kept, answer."""
    same_outcome: int
    """The number with the same outcome."""
    same_status: int
    """The number with the same status."""
    answers: int
    """Events of which both answers were kept."""
    same_answer: int
    """The number of which they are the same."""
    open: int
    """Events that one side still retries."""
    original_speed: ShadowSpeed
    """The original's durations."""
    shadow_speed: ShadowSpeed
    """The shadow's durations."""
    different: int
    """The number of events that differ."""
    differences: list[ShadowDifference]
    """The newest of them."""
    missing_in_shadow: int
    """The number of events that only the original has."""
    missing_in_original: int
    """The number of events that only the shadow has."""
    missing: list[ShadowMissing]
    """The newest events that only one of the two has."""
    shadow_state: str
    """The shadow's state, with its reason."""


class ShadowQuery(Input):
    """The extent of a comparison."""

    since: When | None = None
    """The first moment: a time with its zone, or an age such as `2h`."""
    limit: Annotated[int, Field(ge=0, le=MAX_SHOWN)] = 20
    """The most differing and missing events that are listed."""


@operation("GET", "/subscriptions/{subscription}/shadow-report", tag=TAG, scope=Scope.READ, errors={409})
async def get_shadow_report(call: Call, path: SubscriptionPath, query: ShadowQuery) -> ShadowReport:
    """Compare a shadow with the subscription that it shadows."""
    since = ms_of(query.since, call.context.now_ms)
    found = await shadow_report.report(call.context, call.principal, path.subscription, since, query.limit)
    return ShadowReport.model_validate(found)


OPERATIONS = (get_shadow_report,)
