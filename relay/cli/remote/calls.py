"""Calls of the API in place of those of the services, for commands that can do either."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from relay.cli.remote import answers
from relay.cli.remote.access import ApiError, open_api
from relay.services.page import MAX_LIMIT
from relay.services.topics.history.find import NotFoundYet
from relay.services.topics.history.scan import Progress
from relay.services.topics.history.search import FoundEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.cli.remote.access import Access
    from relay.cli.remote.client import Api
    from relay.core.event_filter import EventFilter
    from relay.services.deliveries.shadow_report import ShadowReport
    from relay.services.deliveries.stored_subscriptions import SentTest
    from relay.services.deliveries.subscriptions import SubscriptionState
    from relay.services.topics.events import EventQuery, EventStory
    from relay.services.topics.history.view import EventView
    from relay.services.topics.life.summary import Life
    from relay.store.lanes.attempts.log import FoundAttempt
    from relay.store.lanes.dead_letters import DeadLetter


async def story(access: Access, event_id: str, cursor: str | None, seconds: float | None) -> EventStory:
    """Return the story of an event.

    Raises:
        ApiError: the API refuses, or there is no such event.
        NotFoundYet: there was no time to search everything.
    """
    ends = _end(seconds)
    path = f"/events/{quote(event_id, safe='')}"
    async with open_api(access) as api:
        while True:
            try:
                found = await api.get(path, {"cursor": cursor, "limit": MAX_LIMIT})
                break
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND or error.cursor is None:
                    raise
                cursor = error.cursor
                if time.monotonic() > ends:
                    raise NotFoundYet(event_id, cursor, int(cursor.partition("-")[0])) from None
        told = answers.story_of(found)
        while told.push_after is not None:
            query = {"cursor": cursor, "limit": MAX_LIMIT, "after": told.push_after}
            more = answers.story_of(await api.get(path, query))
            told = replace(told, push=told.push + more.push, push_after=more.push_after)
    return told


async def life(access: Access, message_id: str, cursor: str | None, seconds: float | None) -> Life:
    """Return the life of a message; the search continues until it is whole or the time is over.

    Raises:
        ApiError: the API refuses, or there is no such message.
        NotFoundYet: there was no time to search everything.
    """
    ends, found = _end(seconds), None
    path = f"/messages/{quote(message_id, safe='')}"
    async with open_api(access) as api:
        while True:
            try:
                part = answers.life_of(await api.get(path, {"cursor": cursor}))
                found, cursor = part if found is None else found.joined(part), part.cursor
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND or (error.cursor is None and found is None):
                    raise
                cursor = error.cursor
                if found is not None:
                    found = found.searched(cursor)
            if cursor is None and found is not None:
                return found
            if time.monotonic() > ends:
                if found is not None:
                    return found
                assert cursor is not None  # noqa: S101  an answer without anything has it
                raise NotFoundYet(message_id, cursor, int(cursor.partition("-")[0]), "event of message")


async def shadow(access: Access, name: str, since_ms: float | None, limit: int) -> ShadowReport:
    """Return a shadow compared with its original.

    Raises:
        ApiError: the API refuses, there is no such subscription, or it is no shadow.
    """
    async with open_api(access) as api:
        wanted = {"since": _when(since_ms), "limit": limit}
        return answers.shadow_report_of(await api.get(f"/subscriptions/{quote(name, safe='')}/shadow-report", wanted))


async def search(
    access: Access,
    query: EventQuery,
    cursor: str | None,
    limit: int,
    seconds: float | None,
    tell: Callable[[Progress], None],
) -> FoundEvents:
    """Search events until there are `limit`, or the time is over.

    Raises:
        ApiError: the API refuses.
    """
    ends, read = _end(seconds), 0
    events: list[EventView] = []
    criteria = {
        "handle": query.handle,
        "chat": query.chat,
        "message": query.message,
        "line": query.line,
        "type": query.event_type,
        "topic": query.topic,
        "since": _when(query.since_ms),
        "until": _when(query.until_ms),
    }
    async with open_api(access) as api:
        while True:
            wanted = {**criteria, "cursor": cursor, "limit": min(limit - len(events), MAX_LIMIT)}
            page = await api.get("/events", wanted)
            events += map(answers.event_of, page["items"])
            cursor, read, reached = page["next"], read + page["searched"], answers.ms_of(page["searched_to"])
            if cursor is None or len(events) >= limit or time.monotonic() > ends:
                return FoundEvents(tuple(events), cursor, reached, read)
            tell(Progress(reached or 0, read, len(events)))


async def tail(access: Access, topic: str, query: EventQuery, tell: Callable[[str], None]) -> AsyncIterator[EventView]:
    """Yield the events of a topic as they are routed, without end; `tell` is called with breaks.

    Raises:
        ApiError: the API refuses.
    """
    since = None if query.since_ms is None else f"{max(time.time() - query.since_ms / 1000, 0):.3f}s"
    wanted = {"since": since, "line": query.line, "type": query.event_type, "handle": query.handle}
    async with open_api(access) as api:
        given = {name: value for name, value in wanted.items() if value is not None}
        async for event in api.events(quote(topic, safe=""), given, tell):
            if query.chat in {None, event["chat"]}:
                yield answers.event_of_topic(event, topic)


async def send_test(access: Access, name: str, event_type: str | None, why: str) -> SentTest:
    """Send a sample event to a subscription.

    Raises:
        ApiError: the API refuses.
    """
    async with open_api(access) as api:
        path = f"/subscriptions/{quote(name, safe='')}/test"
        return answers.sent_of(await api.post(path, {"type": event_type, "why": why or None}))


async def subscription_states(access: Access) -> list[SubscriptionState]:
    """Return the state of each subscription that the token may see, by name.

    Raises:
        ApiError: the API refuses.
    """
    async with open_api(access) as api:
        return [answers.state_of(row) for row in (await _pages(api, "/subscriptions", {}, None))[0]]


async def attempts(access: Access, subscription: str | None, which: EventFilter, limit: int) -> list[FoundAttempt]:
    """Return the newest attempts that match, newest first.

    Raises:
        ApiError: the API refuses.
    """
    given: Any = which.outcomes or ()
    outcomes = [str(outcome) for outcome in given]
    query = {**_criteria(subscription, which), "message": which.message, "trace": which.trace, "outcome": outcomes}
    async with open_api(access) as api:
        rows, _ = await _pages(api, "/attempts", query, limit)
    return [answers.attempt_of(row) for row in rows]


async def dead_letters(
    access: Access, subscription: str | None, which: EventFilter, cursor: str | None, limit: int
) -> tuple[list[DeadLetter], str | None]:
    """Return dead letters, oldest first, and the cursor of those after.

    Raises:
        ApiError: the API refuses.
    """
    query = {**_criteria(subscription, which), "reason": which.reason, "cursor": cursor}
    async with open_api(access) as api:
        rows, rest = await _pages(api, "/dead-letters", query, limit)
    return [answers.letter_of(row) for row in rows], rest


async def replay_dead_letters(
    access: Access, subscription: str | None, which: EventFilter, why: str, *, every: bool, dry_run: bool
) -> dict[str, int]:
    """Send dead letters again; return how many, by subscription.

    Raises:
        ApiError: the API refuses.
    """
    chosen = {**_criteria(subscription, which), "reason": which.reason}
    body = {**chosen, "why": why, "dry_run": dry_run, "all": every}
    async with open_api(access) as api:
        counts: dict[str, int] = (await api.post("/dead-letters/replay", body))["subscriptions"]
    return counts


async def _pages(
    api: Api, path: str, query: dict[str, Any], limit: int | None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the items of a list, at most `limit`, and the cursor of those after."""
    rows: list[dict[str, Any]] = []
    while True:
        size = MAX_LIMIT if limit is None else min(limit - len(rows), MAX_LIMIT)
        page = await api.get(path, {**query, "limit": size})
        rows += page["items"]
        query["cursor"] = page["next"]
        if page["next"] is None or (limit is not None and len(rows) >= limit):
            return rows, page["next"]


def _criteria(subscription: str | None, which: EventFilter) -> dict[str, Any]:
    ids: Any = which.event_ids or ()  # --id is one
    return {
        "subscription": subscription,
        "type": which.event_type,
        "line": which.line,
        "event": next(iter(ids), None),
        "chat": which.chat,
        "since": _when(which.since_ms),
        "until": _when(which.until_ms),
    }


def _when(ms: float | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _end(seconds: float | None) -> float:
    return float("inf") if seconds is None else time.monotonic() + seconds
