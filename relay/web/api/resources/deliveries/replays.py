"""Replays: a topic's history, sent to a push subscription again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, WithJsonSchema

from relay.core.access.scopes import Scope
from relay.core.config.fields import Line, Name, Pattern
from relay.core.event_filter import EventFilter
from relay.services.deliveries import replays
from relay.store.topics.replays import State
from relay.web.api.filters import Period
from relay.web.api.models import (
    Input,
    Moment,
    Output,
    Page,
    Paging,
    Reason,
    Why,
    moment,
    ms_of,
    optional_moment,
    part_of,
)
from relay.web.api.operation import Call, Tag, operation

if TYPE_CHECKING:
    from relay.services.deliveries.replays import ReplayState
    from relay.store.topics.replays import Replay as Found

TAG = Tag("replays", "A topic's history, sent to a push subscription again.")


StateName = Annotated[State, WithJsonSchema({"type": "string", "enum": [str(state) for state in State]})]


class ReplayPath(Input):
    """The path of a replay."""

    replay: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]


class ReplayRequest(Period):
    """A replay."""

    topic: Name
    to: Name
    """The push subscription."""
    type: Pattern | None = None
    """Only events of this type, or of a pattern such as `message.*`."""
    line: Line | None = None
    """Only events of this line."""
    rate: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """Events a second, at most."""

    def as_request(self, now_ms: int) -> replays.Request:
        """Return the request of the services."""
        which = EventFilter(event_type=self.type, line=self.line)
        since, until = ms_of(self.since, now_ms), ms_of(self.until, now_ms)
        return replays.Request(self.topic, self.to, which, since, until, self.rate)


class ReplayOrder(ReplayRequest):
    """A replay to start."""

    why: Why


class Preview(Output):
    """The events that a replay would send."""

    events: int
    """The number of events in the period."""
    matching: int
    """The number of those that would be sent."""
    first: Moment | None
    """Time of routing of the first event of the period."""
    last: Moment | None
    """Time of routing of the last event of the period."""
    is_cut: bool
    """True if the topic no longer holds everything since the beginning of the period."""


class Replay(Output):
    """A replay and its progress."""

    id: str
    """Its id."""
    topic: str
    to: str
    """The push subscription."""
    by: str
    """The name of who started it."""
    state: StateName
    """`running`, or how it ended."""
    reason: str
    """The reason for its end; empty if there is none."""
    waits: bool
    """True if it runs, and its subscription does not deliver."""
    rate: float
    """Events a second, at most."""
    matching: int
    """The number of events that it sends."""
    seen: int
    """The number of events that it has processed, of `events`."""
    events: int
    """The number of events in the period."""
    sent: int
    """The number of events that were queued for the subscription."""
    started: Moment
    """When it was ordered."""
    ended: Moment | None
    """When it ended; null while it runs."""


@operation("POST", "/replays/preview", tag=TAG, scope=Scope.REPLAY, errors={404})
async def preview_replay(call: Call, body: ReplayRequest) -> Preview:
    """Count the events that a replay would send; nothing is changed."""
    found = await replays.preview(call.context, call.principal, body.as_request(call.context.now_ms))
    survey = found.survey
    return Preview(
        events=survey.events,
        matching=survey.matching,
        first=optional_moment(survey.first_ms),
        last=optional_moment(survey.last_ms),
        is_cut=found.is_cut,
    )


@operation("POST", "/replays", tag=TAG, scope=Scope.REPLAY, status=201, idempotent=True, errors={404, 409})
async def start_replay(call: Call, body: ReplayOrder) -> Replay:
    """Start a replay."""
    started = await replays.start(call.context, call.principal, body.as_request(call.context.now_ms), body.why)
    return _replay(await replays.get(call.context, call.principal, started.id))


@operation("GET", "/replays", tag=TAG, scope=Scope.READ)
async def list_replays(call: Call, query: Paging) -> Page[Replay]:
    """List the replays that run, and those that ended in the last week."""
    found = await replays.list_replays(call.context, call.principal)
    return part_of(map(_replay, found), query, Replay, lambda replay: replay.id)


@operation("GET", "/replays/{replay}", tag=TAG, scope=Scope.READ)
async def get_replay(call: Call, path: ReplayPath) -> Replay:
    """Get a replay with its progress."""
    return _replay(await replays.get(call.context, call.principal, path.replay))


@operation("POST", "/replays/{replay}/cancel", tag=TAG, scope=Scope.REPLAY, errors={409})
async def cancel_replay(call: Call, path: ReplayPath, body: Reason) -> Replay:
    """Stop a replay; what it has already queued is still delivered."""
    cancelled = await replays.cancel(call.context, call.principal, path.replay, body.why)
    return _shown(cancelled, waits=False)


def _replay(state: ReplayState) -> Replay:
    return _shown(state.replay, waits=state.waits)


def _shown(found: Found, *, waits: bool) -> Replay:
    return Replay(
        id=found.id,
        topic=found.order.topic,
        to=found.order.to,
        by=found.order.by,
        state=found.state,
        reason=found.reason,
        waits=waits,
        rate=found.order.rate,
        matching=found.matching,
        seen=found.seen,
        events=found.events,
        sent=found.sent,
        started=moment(found.started_ms),
        ended=optional_moment(found.ended_ms),
    )


OPERATIONS = (preview_replay, start_replay, list_replays, get_replay, cancel_replay)
