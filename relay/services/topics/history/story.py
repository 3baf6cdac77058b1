"""The story of an event: how it came, where it is, and what each of its receivers has of it.

What is not known any more is said in `notes`. Everything is read when it is asked for, and nothing is kept for it but
the origin in the event's entries (`topics.record`) and the repeats in the claim on its id (`inbox.claims`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.core.access.scopes import Scope
from relay.core.config.topics import mismatches
from relay.core.durations import format_duration
from relay.core.errors import NotFound
from relay.core.event import Freshness
from relay.core.line_secret import V2_FORMER_SECRET
from relay.linq.payloads.content import BodyContent
from relay.linq.target_urls import V2_PATH, V3_PATH, target_url
from relay.services.access import topics_of
from relay.services.dedupe_window import dedupe_window
from relay.services.topics.history.find import claim_on, find
from relay.services.topics.history.neighbours import Neighbours, neighbours_of
from relay.services.topics.history.pull import PullPart, pull_parts
from relay.services.topics.history.push import EVERY, PushPart, Range, push_parts
from relay.services.topics.history.scan import Budget
from relay.services.topics.history.view import Body, EventView, view_of
from relay.store.topics.history import History, whole_extent
from relay.store.topics.record import Proof, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.core.conditions.content import Content
    from relay.core.config.relay_toml import RelayConfig
    from relay.services.context import Context
    from relay.services.topics.history.find import Claim
    from relay.services.topics.history.scan import Progress

SECONDS = 0.5
"""The time that a call takes by default to find an event, and again to tell its story; mostly it needs some
milliseconds.
"""
_SECONDS_NEARBY = 0.03  # for the events around it in its chat, which may be far away
_V2 = "v2"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The arrival of an event."""

    at_ms: int
    """Time of acceptance, Unix milliseconds."""
    address: str | None
    """IP address of the sender: Linq, or the load balancer in front; None if it is not known."""
    url: str | None
    """Path and query at which it arrived; None if it is not known."""
    secret: str | None
    """The generation of the secret that verified it, or the variable with v2's."""
    proof: Proof | None
    """The proof of its line."""
    repeats: int | None
    """The number of times that it came again; None if it is not known any more."""
    last_repeat_ms: int | None
    """Time of the last, Unix milliseconds, to the second."""


@dataclass(frozen=True, slots=True)
class TopicPart:
    """An event in a topic, or why it is not there."""

    topic: str
    entry: str | None
    """None if the topic does not hold it."""
    routed_ms: int | None
    why_not: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventStory:
    """The story of an event."""

    event: EventView
    is_held: bool
    """False if no topic holds it any more: the rest is what subscriptions still have of it."""
    receipt: Receipt
    topics: tuple[TopicPart, ...]
    push: tuple[PushPart, ...]
    push_after: str | None
    """The last of these subscriptions, if there are more whose topic holds the event; None if there are not."""
    pull: tuple[PullPart, ...]
    chat: Neighbours
    notes: tuple[str, ...]


async def story(  # noqa: PLR0913  all but four are keyword-only
    context: Context,
    principal: Principal,
    event_id: str,
    cursor: str | None = None,
    *,
    asked: Range = EVERY,
    seconds: float | None = SECONDS,
    progress: Callable[[Progress], None] | None = None,
) -> EventStory:
    """Return the story of an event, as far as the principal may see it, with the push subscriptions that are asked for.

    Raises:
        NotFoundYet: there was no time to search everything; call again with its cursor.
        NotFound: there is no such event in the topics and subscriptions that the principal sees.
        Invalid: it is no cursor.
    """
    principal.require(Scope.READ)
    config = await context.config()
    topics = await topics_of(context, principal)
    claim = await claim_on(context, event_id)
    held = await find(context, topics, event_id, claim, cursor, Budget(seconds), progress)
    event = view_of(context.settings, held.fields, *held.places) if held else _unknown(event_id, claim)
    budget = Budget(seconds)
    push = await push_parts(context, principal, event, config=config, asked=asked, budget=budget)
    fields = held.fields if held else push.fields
    if not held and not push.parts:
        raise _not_found(event_id, principal, claim)
    if not held:
        event = view_of(context.settings, push.fields) if push.fields else _of_attempts(event, push.parts)
    nearby = budget if seconds is None else Budget(min(seconds, _SECONDS_NEARBY))
    chat = await neighbours_of(context.redis, event, nearby)
    receipt = _receipt(event, fields, claim)
    content = BodyContent(fields.get(b"body", b""))
    parts = [await _topic_part(context, config, event, content, topic) for topic in topics]
    return EventStory(
        event=event,
        is_held=held is not None,
        receipt=receipt,
        topics=tuple(part for part in parts if part is not None),
        push=tuple(push.parts),
        push_after=push.last,
        pull=tuple(await pull_parts(context, principal, event.places, budget)),
        chat=chat,
        notes=tuple(await _notes(context, receipt, event, chat, all_push=push.is_whole)),
    )


def _not_found(event_id: str, principal: Principal, claim: Claim | None) -> NotFound:
    if claim is None or not principal.is_operator:
        return NotFound(f'no event "{event_id}": the topics do not hold it, and no subscription has a trace of it')
    return NotFound(
        f'event "{event_id}" was accepted, but no topic holds it: it waits to be routed, matched no topic, is in the '
        "quarantine, or was trimmed"
    )


def _unknown(event_id: str, claim: Claim | None) -> EventView:
    """Return what is known of an event that no topic holds."""
    at_ms = claim.accepted_ms if claim else 0
    nothing = (None,) * 6
    return EventView(event_id, "", "", *nothing, Freshness.LIVE, None, None, event_id, at_ms, Body(0, None))


def _of_attempts(event: EventView, parts: Sequence[PushPart]) -> EventView:
    """Return what the attempts show of an event."""
    known = next((part.attempts[0].attempt for part in parts if part.attempts), None)
    if known is None:
        return event
    return replace(event, type=known.type, line=known.line, chat=known.chat, message=known.message, trace=known.trace)


def _receipt(event: EventView, fields: Mapping[bytes, bytes], claim: Claim | None) -> Receipt:
    origin = origin_of(fields)
    repeats = claim.repeats if claim else None
    url = secret = None
    if origin is not None and event.version == _V2:
        url = V2_PATH
        secret = "LINQ_V2_WEBHOOK_SECRET" + ("_OLD" if origin.generation == V2_FORMER_SECRET else "")
    elif origin is not None:
        url = url_of(event.line if origin.proof is Proof.URL else None, origin.generation, event.version)
        secret = f"generation {origin.generation}"
    return Receipt(
        at_ms=event.at_ms,
        address=origin.address if origin else None,
        url=url,
        secret=secret,
        proof=origin.proof if origin else None,
        repeats=None if claim is None else repeats.times if repeats else 0,
        last_repeat_ms=repeats.last_at * 1000 if repeats else None,
    )


def url_of(line: str | None, generation: int, version: str) -> str:
    """Return path and query of the URL of a v3 subscription."""
    query = urlsplit(target_url("", line, generation)).query.split("&")
    return f"{V3_PATH}?{'&'.join([f'version={version}', *query[1:]])}"


async def _topic_part(
    context: Context, config: RelayConfig, event: EventView, content: Content, name: str
) -> TopicPart | None:
    """Return the part of a topic; None of a removed topic without the event."""
    place = next((place for place in event.places if place.topic == name), None)
    if place is not None:
        return TopicPart(name, place.entry, place.at_ms)
    rule = next((topic for topic in config.topics if topic.name == name), None)
    if rule is None:
        return None
    if not event.type:
        return TopicPart(name, None, None, ("it is not known any more: nothing but the id is left",))
    if reasons := mismatches(rule, event.event(), content):
        return TopicPart(name, None, None, tuple(reasons))
    shards = [context.redis.shards[place.shard] for place in event.places[:1]] or context.redis.shards
    extent = whole_extent([await History(shard, name).extent() for shard in shards])
    if not extent.reaches(event.at_ms or None):
        return TopicPart(name, None, None, ("it matches; the topic does not hold events of that time any more",))
    return TopicPart(name, None, None, ("it matches the rule of now; when it was routed, the rule was another",))


async def _notes(
    context: Context, receipt: Receipt, event: EventView, chat: Neighbours, *, all_push: bool
) -> list[str]:
    notes = []
    if not event.places:
        notes.append("No topic holds the event any more: it was trimmed. This is what subscriptions still have of it.")
    if receipt.url is None:
        notes.append("The address and the URL at which it arrived are not known: older releases did not keep them.")
    if receipt.repeats is None:
        window = format_duration((await dedupe_window(context)).ms / 1000)
        notes.append(f"Repeats are not known any more: they are remembered for {window}.")
    if not chat.searched_all:
        notes.append("There may be more events of its chat: only those nearby were searched.")
    if not all_push:
        notes.append("There was no time to look at all other subscriptions.")
    return notes
