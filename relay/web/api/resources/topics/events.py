"""Events: searching them, the story of one, and sending it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.config.fields import Line, Name, Pattern
from relay.core.event import Freshness
from relay.services.history import resend, search, story
from relay.services.history.pull import PullState
from relay.services.history.push import PushState
from relay.services.history.search import EventQuery
from relay.store.topics.record import Proof
from relay.web.api.filters import Period, Text
from relay.web.api.models import Input, Moment, Output, Page, Paging, Why, moment, ms_of
from relay.web.api.operation import Call, Tag, operation
from relay.web.api.resources.deliveries.attempts import Attempt, attempt_of

if TYPE_CHECKING:
    from relay.services.history.push import PushPart
    from relay.services.history.view import EventView

TAG = Tag("events", "Events, as far as topics still hold them: search, the story of one, sending it again.")

_SECONDS = 0.25  # that one page of a search takes, at most


class EventPath(Input):
    """The path of an event."""

    event: Text


class Place(Output):
    """An event's entry in a topic."""

    topic: str
    entry: str
    at: Moment = Field(validation_alias="at_ms")
    """Time of routing."""


class Event(Output):
    """An event."""

    id: str
    """Linq's id of the event."""
    type: str
    version: str
    line: str | None
    chat: str | None
    message: str | None
    direction: str | None
    service: str | None
    is_group: bool | None
    freshness: Freshness
    created: str | None
    """When Linq created it, as Linq wrote it."""
    trace: str | None
    at: Moment | None
    """When the relay accepted it; null if that is not known any more."""
    bytes: int
    """The size of its body."""
    body: str | None
    """The body as Linq signed it; null if bodies are hidden."""
    places: list[Place]
    """Its entries in the topics that you may read."""


class EventPage(Page[Event]):
    """A part of a search. A page without items may have a `next`: there was no time to search more."""

    searched_to: Moment | None
    """All that was routed since then was searched; null if everything was."""


class EventSearch(Period, Paging):
    """Events that are asked for; criteria are combined with "and"."""

    handle: Text | None = None
    """The phone number or e-mail address of a person in the conversation."""
    chat: Text | None = None
    message: Text | None = None
    line: Line | None = None
    type: Pattern | None = None
    """A type of events, or a pattern such as `message.*`."""
    topic: Name | None = None


class StoryQuery(Input):
    """The continuation of a search."""

    cursor: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The `cursor` of an answer 404 that had no time to search everything."""


class Receipt(Output):
    """The arrival of an event."""

    at: Moment = Field(validation_alias="at_ms")
    address: str | None
    """IP address of the sender; null if it is not known."""
    url: str | None
    """Path and query at which it arrived."""
    secret: str | None
    """The generation of the secret that verified it."""
    proof: Proof | None
    """The proof of its line."""
    repeats: int | None
    """The number of times that it came again; null if it is not known any more."""
    last_repeat: Moment | None = Field(validation_alias="last_repeat_ms")


class TopicPart(Output):
    """An event in a topic, or why it is not there."""

    topic: str
    entry: str | None
    """Null if the topic does not hold it."""
    routed: Moment | None = Field(validation_alias="routed_ms")
    why_not: list[str]


class DeadPart(Output):
    """The dead letter of an event."""

    id: str = Field(validation_alias="entry")
    at: Moment = Field(validation_alias="at_ms")
    reason: str


class PushPartOfStory(Output):
    """An event at a push subscription."""

    subscription: str
    topic: str
    state: PushState
    attempts: list[Attempt]
    """The oldest first, replays as well."""
    next: Moment | None
    """Time of the next attempt."""
    dead: DeadPart | None
    replays: int
    """The number of replays of it that wait."""
    replayed: bool
    """True if it was sent again."""
    notes: list[str]


class PullPartOfStory(Output):
    """An event at a pull group."""

    group: str
    topic: str
    state: PullState
    member: str | None
    """The member that has it."""
    idle_ms: int | None
    """Time since that member got it, milliseconds."""
    deliveries: int | None
    """The number of times that a member got it."""


class Neighbour(Output):
    """The nearest event of the same chat."""

    id: str
    type: str
    at: Moment = Field(validation_alias="at_ms")


class Neighbours(Output):
    """The events around an event in its chat."""

    previous: Neighbour | None
    next: Neighbour | None
    searched_all: bool
    """False if there may be one that was not found."""


class Story(Output):
    """The story of an event."""

    event: Event
    is_held: bool
    """False if no topic holds it any more: this is what subscriptions still have of it."""
    receipt: Receipt
    topics: list[TopicPart]
    push: list[PushPartOfStory]
    pull: list[PullPartOfStory]
    chat: Neighbours
    notes: list[str]
    """What is not known any more."""


class ResendBody(Input):
    """An event to send again."""

    subscription: Name
    topic: Name | None = None
    """The topic from which it is taken; without it, that of the subscription, or any other that holds it."""
    why: Why


class Resent(Output):
    """An event that was sent again."""

    event: str
    subscription: str
    topic: str
    entry: str
    replay: str
    """The entry among the subscription's replays."""
    notes: list[str]
    """Reasons why it waits."""


@operation("GET", "/events", tag=TAG, scope=Scope.READ, errors={404})
async def search_events(call: Call, query: EventSearch) -> EventPage:
    """Search the topics that you may read, the newest event first.

    A page takes a quarter of a second at most; while there is more to search, it has a `next`, also without items.
    """
    now = call.context.now_ms
    wanted = EventQuery(
        handle=query.handle,
        chat=query.chat,
        message=query.message,
        line=query.line,
        event_type=query.type,
        topic=query.topic,
        since_ms=ms_of(query.since, now),
        until_ms=ms_of(query.until, now),
    )
    found = await search.search(call.context, call.principal, wanted, query.cursor, query.limit, seconds=_SECONDS)
    reached = found.searched_to_ms
    return EventPage(
        items=[_event(event) for event in found.events],
        next=found.cursor,
        searched_to=None if reached is None else moment(reached),
    )


@operation("GET", "/events/{event}", tag=TAG, scope=Scope.READ)
async def get_event(call: Call, path: EventPath, query: StoryQuery) -> Story:
    """Tell the story of an event: how it came, where it is, and what each of its receivers has of it.

    A 404 with a `cursor` had no time to search everything: ask again with it.
    """
    told = await story.story(call.context, call.principal, path.event, query.cursor)
    return Story(
        event=_event(told.event),
        is_held=told.is_held,
        receipt=Receipt.model_validate(told.receipt),
        topics=[TopicPart.model_validate(part) for part in told.topics],
        push=[_push(part) for part in told.push],
        pull=[PullPartOfStory.model_validate(part) for part in told.pull],
        chat=Neighbours.model_validate(told.chat),
        notes=list(told.notes),
    )


@operation("POST", "/events/{event}/resend", tag=TAG, scope=Scope.REPLAY, status=201, idempotent=True, errors={409})
async def resend_event(call: Call, path: EventPath, body: ResendBody) -> Resent:
    """Send an event that a topic holds to a push subscription again."""
    sent = await resend.resend(
        call.context, call.principal, path.event, body.subscription, topic=body.topic, why=body.why
    )
    return Resent(
        event=sent.event_id,
        subscription=sent.subscription,
        topic=sent.place.topic,
        entry=sent.place.entry,
        replay=sent.replay,
        notes=list(sent.notes),
    )


def _event(view: EventView) -> Event:
    return Event(
        id=view.id,
        type=view.type,
        version=view.version,
        line=view.line,
        chat=view.chat,
        message=view.message,
        direction=view.direction,
        service=view.service,
        is_group=view.is_group,
        freshness=view.freshness,
        created=view.created,
        trace=view.trace,
        at=moment(view.at_ms) if view.at_ms else None,
        bytes=view.body.size,
        body=view.body.text,
        places=[Place.model_validate(place) for place in view.places],
    )


def _push(part: PushPart) -> PushPartOfStory:
    return PushPartOfStory(
        subscription=part.subscription,
        topic=part.topic,
        state=part.state,
        attempts=[attempt_of(found) for found in part.attempts],
        next=None if part.due_ms is None else moment(part.due_ms),
        dead=None if part.dead is None else DeadPart.model_validate(part.dead),
        replays=part.replays,
        replayed=part.replayed,
        notes=list(part.notes),
    )


OPERATIONS = (search_events, get_event, resend_event)
