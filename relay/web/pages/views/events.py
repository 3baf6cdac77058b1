"""Events: search in what topics hold, the story of one, sending it again, and new ones as they come."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from relay.core.errors import NotFound
from relay.services.topics import events, topics
from relay.services.topics.events import EventQuery, NotFoundYet
from relay.services.topics.history.push import Range
from relay.services.topics.life.life import life_of
from relay.web.pages.shell import fields
from relay.web.pages.shell.formats import path
from relay.web.pages.views.subscriptions import all_states

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from aiohttp import web

    from relay.services.topics.history.view import EventView
    from relay.web.pages.shell.page import Page

_LIMIT = 50
_ROWS_A_SECOND = 20
_SECONDS_OF_LATEST = 0.01
_SECONDS = 0.06  # of one step of a search by id; the page continues with the next by itself
_SECONDS_OF_LIFE = 0.2  # of the search for a message, and again for what subscriptions have
_SUBSCRIPTIONS = 100  # of a story on one page
_SHOWN = 64 * 1024  # characters of a body
_FIELDS = ("topic", "type", "line", "handle", "chat", "message", "since", "until")


async def search(page: Page) -> web.StreamResponse:
    """Search events, the newest first; an id alone leads to its story."""
    query = page.query
    if wanted := fields.text(query, "id"):
        return page.go(f"/events/{path(wanted)}")
    found = await events.search(page.context, page.principal, _query(page), fields.text(query, "cursor"), limit=_LIMIT)
    config = await page.context.config()
    return page.show(
        "events_part.html" if page.is_part else "events.html",
        found=found,
        topics=[topic.name for topic in config.topics if page.principal.sees_topic(topic.name)],
        query=dict(query),
        is_filtered=any(query.get(name) for name in _FIELDS),
    )


async def show(page: Page) -> web.StreamResponse:
    """Show the story of an event."""
    event_id = page.named("id")
    try:
        cursor = fields.text(page.query, "cursor")
        asked = Range(fields.text(page.query, "after") or "", _SUBSCRIPTIONS)
        story = await events.story(page.context, page.principal, event_id, cursor, asked=asked, seconds=_SECONDS)
    except NotFoundYet as error:
        further = f"/events/{path(event_id)}"
        return page.show("event_not_yet.html", status=404, event_id=event_id, error=error, further=further)
    states = await all_states(page)
    body, is_cut = _pretty(story.event)
    return page.show("event.html", story=story, event=story.event, states=states, body=body, is_cut=is_cut)


async def show_message(page: Page) -> web.StreamResponse:
    """Show the life of a message."""
    message_id, cursor = page.named("id"), fields.text(page.query, "cursor")
    try:
        found = await life_of(page.context, page.principal, message_id, cursor, seconds=_SECONDS_OF_LIFE)
    except NotFoundYet as error:
        further = f"/messages/{path(message_id)}"
        return page.show("event_not_yet.html", status=404, event_id=message_id, error=error, further=further)
    return page.show("message.html", life=found, is_older=cursor is not None)


async def resend(page: Page) -> web.StreamResponse:
    """Send an event to one subscription again."""
    event_id, to = page.named("id"), page.form.get("subscription", "")
    sent = await events.resend(page.context, page.principal, event_id, to, why=page.form.get("why", ""))
    waits = f" It waits: {'; '.join(sent.notes)}." if sent.notes else ""
    return page.go(f"/events/{path(event_id)}", f"The event is sent to {to} again.{waits}")


async def tail(page: Page) -> web.StreamResponse:
    """Stream the new events of a topic, as rows of a table."""
    name = page.named()
    await topics.get_state(page.context, page.principal, name)

    async def rows() -> AsyncGenerator[str, None]:
        """Yield rows; of a topic with more than can be read, those that are the newest each second."""
        clock = asyncio.get_running_loop().time
        while True:
            since, shown = clock(), 0
            async with aclosing(events.tail(page.context, page.principal, name)) as found:  # type: ignore[type-var]
                async for event in found:
                    yield page.text("event_row.html", event=event)
                    if clock() - since >= 1:
                        since, shown = clock(), 0
                    shown += 1
                    if shown == _ROWS_A_SECOND:
                        break
            await asyncio.sleep(max(since + 1 - clock(), 0))

    return await page.site.live.feed(page, "event", rows())


async def latest(page: Page, topic: str) -> tuple[EventView, ...]:
    """Return the newest events of a topic."""
    with suppress(NotFound, asyncio.TimeoutError):
        query = EventQuery(topic=topic)
        found = await events.search(page.context, page.principal, query, limit=15, seconds=_SECONDS_OF_LATEST)
        return found.events
    return ()


def _query(page: Page) -> EventQuery:
    query, now_ms = page.query, page.context.now_ms
    return EventQuery(
        handle=fields.text(query, "handle"),
        chat=fields.text(query, "chat"),
        message=fields.text(query, "message"),
        line=fields.text(query, "line"),
        event_type=fields.text(query, "type"),
        topic=fields.text(query, "topic"),
        since_ms=fields.past_time(query, "since", now_ms),
        until_ms=fields.past_time(query, "until", now_ms),
    )


def _pretty(event: EventView) -> tuple[str | None, bool]:
    """Return the body, indented if it is JSON; and whether it is cut."""
    text = event.body.text
    if text is None:
        return None, False
    with suppress(ValueError):
        parsed: Mapping[str, Any] = from_json(text)
        text = to_json(parsed, indent=2).decode()
    return text[:_SHOWN], len(text) > _SHOWN
