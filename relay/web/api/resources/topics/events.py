"""Events: searching them, the story of one, and sending it again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name, Pattern
from relay.services.page import MAX_LIMIT
from relay.services.topics.history import resend, search, story
from relay.services.topics.history.push import Range
from relay.services.topics.history.search import EventQuery
from relay.web.api.filters import HandleText, LineText, Period, Text
from relay.web.api.models import Input, Moment, Output, Page, Paging, Why, ms_of, optional_moment
from relay.web.api.operation import Call, Tag, operation
from relay.web.api.resources.topics.story import Event, Story, event_of, story_of

TAG = Tag("events", "Events, as far as topics still hold them: search, the story of one, sending it again.")


CursorText = Annotated[str, Field(min_length=1, max_length=100)]


class EventPath(Input):
    """The path of an event."""

    event: Text


class EventPage(Page[Event]):
    """A part of a search. A page without items may have a `next`: there was no time to search more."""

    searched_to: Moment | None
    """All that was routed since then was searched; null if everything was."""
    searched: int
    """Entries that were read for this page."""


class EventSearch(Period, Paging):
    """Events that are asked for; criteria are combined with "and"."""

    handle: HandleText | None = None
    """The phone number or e-mail address of a person in the conversation."""
    chat: Text | None = None
    message: Text | None = None
    line: LineText | None = None
    type: Pattern | None = None
    """A type of events, or a pattern such as `message.*`."""
    topic: Name | None = None


class StoryQuery(Input):
    """The continuation of a search, and the push subscriptions that are shown."""

    cursor: CursorText | None = None
    """The `cursor` of an answer 404 that had no time to search everything."""
    after: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The `push_after` of the story before; without it, the first push subscriptions are shown."""
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 100
    """Number of push subscriptions, at most."""


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

    A page takes a twentieth of a second or so; while there is more to search, it has a `next`, also without items.
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
    found = await search.search(call.context, call.principal, wanted, query.cursor, query.limit)
    reached = found.searched_to_ms
    return EventPage(
        items=[event_of(event) for event in found.events],
        next=found.cursor,
        searched_to=optional_moment(reached),
        searched=found.entries,
    )


@operation("GET", "/events/{event}", tag=TAG, scope=Scope.READ)
async def get_event(call: Call, path: EventPath, query: StoryQuery) -> Story:
    """Tell the story of an event: how it came, where it is, and what each of its receivers has of it.

    A 404 with a `cursor` had no time to search everything: ask again with it.
    """
    asked = Range(query.after or "", query.limit)
    told = await story.story(call.context, call.principal, path.event, query.cursor, asked=asked)
    return story_of(told)


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


OPERATIONS = (search_events, get_event, resend_event)
