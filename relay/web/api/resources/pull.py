"""Pull over HTTP: the members of a group receive, acknowledge, extend and hand back events; streams, and tails."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from aiohttp import web
from pydantic import Field

from relay.consumer.names import MAX_DELIVERIES
from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, NotFound, Problem
from relay.services.topics.pull import settle
from relay.services.topics.pull.access import open_group
from relay.services.topics.pull.batch import RESTORED, Batch
from relay.services.topics.pull.receive import batches, receive_from
from relay.services.topics.pull.request import (
    MAX_EVENTS,
    MAX_MAX_DELIVERIES,
    MAX_VISIBILITY,
    MAX_WAIT,
    MIN_VISIBILITY,
    Request,
    check,
)
from relay.store.keys import GroupName
from relay.store.topics.pull.group import MAX_PENDING, Delivered, Run
from relay.web.api.models import DurationText, Input, Output
from relay.web.api.operation import EVENT_STREAM, Call, Tag, operation
from relay.web.api.resources.topic_event import TopicEvent, fields_of, formed
from relay.web.api.streams import is_gone, message, send_stream, streams_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

TAG = Tag("pull", "Events for readers without Redis: pull groups over HTTP, and the tail of a topic.")

Name = Annotated[str, Field(min_length=1, max_length=100)]
Receipts = Annotated[list[Annotated[str, Field(max_length=60)]], Field(min_length=1, max_length=settle.MAX_RECEIPTS)]
Cursor = Annotated[str, Field(max_length=6000)]
Visibility = Annotated[DurationText, Field(ge=MIN_VISIBILITY, le=MAX_VISIBILITY)]


class TopicPath(Input):
    """A topic."""

    topic: Name


class GroupPath(Input):
    """A pull group of a topic; a team's groups are named like the team, or begin with its name and a dot."""

    topic: Name
    group: Name


class Reading(Input):
    """The reader, and what it wants."""

    member: Name = "http"
    """The name of this reader within the group; readers in parallel that acknowledge by cursor need different ones."""
    visibility: Visibility = 60.0
    """Time after which an event that is not acknowledged is delivered again, to any reader."""
    start: Annotated[str, Field(max_length=40)] = "0"
    """The place where a new group begins: `0` is the oldest kept event, `$` the next one; or the id of an entry, or
    Unix milliseconds.
    """
    max_deliveries: Annotated[int, Field(ge=0, le=MAX_MAX_DELIVERIES)] = MAX_DELIVERIES
    """Deliveries of an event to the group, at most: instead of one more, it becomes a dead letter. 0 is no limit."""


class ReceiveQuery(Reading):
    """A request for a batch."""

    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS)] = 100
    """Events, at most. A batch also ends at 4 MiB."""
    wait: Annotated[DurationText, Field(ge=0, le=MAX_WAIT)] = 0.0
    """Time to wait for the first event, up to `30s`."""
    ack: Cursor | None = None
    """The `cursor` of the batch before: acknowledges the events of that batch that this member has, then receives."""


class StreamQuery(Reading):
    """A request for a stream of a group."""

    held: Annotated[int, Field(ge=1, le=MAX_PENDING)] = 100
    """Events that are sent ahead: the stream continues as they are acknowledged, or expire."""


class AcknowledgeBody(Input):
    """Events to acknowledge: either `receipts` or `up_to`."""

    receipts: Receipts | None = None
    up_to: Cursor | None = None
    """The `cursor` of a batch: its events that `member` has. Or a receipt: all that it has up to that, on its shard."""
    member: Name = "http"
    """The reader that has the events, for `up_to`."""


class ExtendBody(Input):
    """Events to keep for longer."""

    receipts: Receipts
    visibility: Visibility
    """Time from now."""


class ReleaseBody(Input):
    """Events to hand back."""

    receipts: Receipts
    begun: bool = True
    """False if the reader has not begun with them, such as at its end: then this delivery does not count."""


class RejectBody(Input):
    """Events that the reader will never be able to handle."""

    receipts: Receipts
    error: Annotated[str, Field(max_length=500)] = ""
    """The reason; it is shown with the dead letters."""


class PulledEvent(TopicEvent):
    """An event that a reader has received."""

    receipt: str
    """The proof of this delivery; acknowledge, extend or release with it."""
    deliveries: int
    """The number of times that it was delivered to this group, this one included."""


class PulledBatch(Output):
    """The events that a reader has received."""

    events: list[PulledEvent]
    """In the order of acceptance: first those that are delivered again."""
    cursor: str | None
    """For `ack` of the next request; null if there is nothing to acknowledge."""
    group: Literal["joined", "created", "restored"]
    """`created`: the group is new. `restored`: it was lost, and continues at its last known place."""
    missed: int | None
    """Events that the topic no longer kept when the group came to them; null if some were, and their number is unknown.
    """
    trimmed: int
    """Events that the topic no longer kept when they would have been delivered again."""
    dead: int
    """Events that became dead letters of the group, since they were delivered `max_deliveries` times."""
    pending: int
    """Events of the group that are not acknowledged, these included."""


class Settled(Output):
    """The result."""

    done: int
    """Events for which it was done."""
    not_done: Sequence[str] = ()
    """Receipts of events that were acknowledged before, or delivered again since; not known of acknowledgements."""


@operation("GET", "/topics/{topic}/groups/{group}/events", tag=TAG, scope=Scope.SUBSCRIBE)
async def receive_events(call: Call, path: GroupPath, query: ReceiveQuery) -> PulledBatch:
    """Receive the next events of a pull group.

    First those whose visibility timeout has passed, and those that were handed back, then new ones. An event that was
    delivered `max_deliveries` times becomes a dead letter instead. The group is made with the first request. 429 if
    10,000 events of the group are not acknowledged.
    """
    streams = streams_of(call.request)
    arrivals = streams.arrivals
    wanted = replace(_request(path, query), limit=query.limit, wait=query.wait)
    check(wanted)
    left: Sequence[Run] = () if query.ack is None else settle.runs_of(query.ack, "ack")
    group = await open_group(call.context, call.principal, path.topic, path.group)
    if left:
        place, runs, left = GroupName(path.topic, path.group), left, ()
        with suppress(NotFound):  # a lost group is made again, and what was not acknowledged is delivered again
            left = await settle.acknowledge_as_far(group, arrivals, place, query.member, runs)
    with streams.polling(call.principal) if query.wait else nullcontext():
        batch = await receive_from(group, arrivals, wanted, lambda: is_gone(call.request))
        batch.left = left
    return PulledBatch(
        events=[_pulled(event) for event in batch.events],
        cursor=batch.cursor,
        group=batch.state,  # type: ignore[arg-type]
        missed=batch.missed,
        trimmed=batch.trimmed,
        dead=batch.dead,
        pending=batch.pending,
    )


@operation(
    "GET", "/topics/{topic}/groups/{group}/events/stream", tag=TAG, scope=Scope.SUBSCRIBE, media_type=EVENT_STREAM
)
async def stream_group(call: Call, path: GroupPath, query: StreamQuery) -> web.StreamResponse:
    """Receive the events of a pull group as server-sent events.

    Each is a message `event`, whose data is an event as in a batch; acknowledge it by its receipt, with a POST. A
    message `news` reports trimmed events, dead letters or a restored group, and the last one, `end`, why the stream
    ends.
    """
    wanted = replace(_request(path, query), limit=MAX_EVENTS, held=query.held)
    arrivals = streams_of(call.request).arrivals
    check(wanted)
    await open_group(call.context, call.principal, path.topic, path.group)

    async def parts() -> AsyncGenerator[bytes, None]:
        async for batch in batches(call.context, arrivals, call.principal, wanted, lambda: is_gone(call.request)):
            is_sent = False
            try:
                yield b"".join(_messages(batch))
                is_sent = True
            finally:
                if not is_sent and batch.events:
                    receipts = [str(event.receipt) for event in batch.events]
                    place = GroupName(path.topic, path.group)
                    await settle.release(call.context, arrivals, call.principal, place, receipts, counts=False)

    return await send_stream(call.request, call.principal, parts(), call.renew)


@operation("POST", "/topics/{topic}/groups/{group}/ack", tag=TAG, scope=Scope.SUBSCRIBE)
async def acknowledge_events(call: Call, path: GroupPath, body: AcknowledgeBody) -> Settled:
    """Acknowledge received events: they are handled, and not delivered to the group again.

    With `receipts` exactly these, also if another reader has them now; with `up_to` what the member has of a batch.
    """
    arrivals, place = streams_of(call.request).arrivals, GroupName(path.topic, path.group)
    if (body.receipts is None) == (body.up_to is None):
        raise Invalid(Problem("body", "give either receipts or up_to"))
    if body.receipts is not None:
        done = await settle.acknowledge(call.context, arrivals, call.principal, place, body.receipts)
    else:
        runs = settle.runs_of(body.up_to or "", "up_to")
        done = await settle.acknowledge_runs(call.context, arrivals, call.principal, place, body.member, runs)
    return Settled.model_validate(done)


@operation("POST", "/topics/{topic}/groups/{group}/extend", tag=TAG, scope=Scope.SUBSCRIBE)
async def extend_events(call: Call, path: GroupPath, body: ExtendBody) -> Settled:
    """Extend the visibility timeout of received events, from now."""
    place = GroupName(path.topic, path.group)
    return Settled.model_validate(
        await settle.extend(call.context, call.principal, place, body.receipts, body.visibility)
    )


@operation("POST", "/topics/{topic}/groups/{group}/release", tag=TAG, scope=Scope.SUBSCRIBE)
async def release_events(call: Call, path: GroupPath, body: ReleaseBody) -> Settled:
    """Hand received events back: they are delivered next, before any newer one."""
    arrivals, place = streams_of(call.request).arrivals, GroupName(path.topic, path.group)
    done = await settle.release(call.context, arrivals, call.principal, place, body.receipts, counts=body.begun)
    return Settled.model_validate(done)


@operation("POST", "/topics/{topic}/groups/{group}/reject", tag=TAG, scope=Scope.SUBSCRIBE)
async def reject_events(call: Call, path: GroupPath, body: RejectBody) -> Settled:
    """Make received events dead letters of the group: they are not delivered again until they are replayed."""
    place = GroupName(path.topic, path.group)
    return Settled.model_validate(await settle.reject(call.context, call.principal, place, body.receipts, body.error))


def _request(path: GroupPath, query: Reading) -> Request:
    return Request(
        topic=path.topic,
        group=path.group,
        member=query.member,
        visibility=query.visibility,
        start=query.start,
        max_deliveries=query.max_deliveries,
    )


def _messages(batch: Batch) -> Iterator[bytes]:
    if batch.missed != 0 or batch.trimmed or batch.dead or batch.state == RESTORED:
        news = {"group": batch.state, "missed": batch.missed, "trimmed": batch.trimmed, "dead": batch.dead}
        yield message(news, event="news")
    for event in batch.events:
        yield message(_pulled(event).model_dump_json(), event="event", id=event.record.entry)


def _pulled(event: Delivered) -> PulledEvent:
    proof = {"receipt": str(event.receipt), "deliveries": event.deliveries}
    return formed(PulledEvent, fields_of(event.record) | proof)


OPERATIONS = (
    receive_events,
    stream_group,
    acknowledge_events,
    extend_events,
    release_events,
    reject_events,
)
