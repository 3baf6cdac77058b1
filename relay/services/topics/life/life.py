"""The search for the life of a message: in what the topics hold, newest first, in bounded time.

There is no index of messages. What came of a message is newer than its beginning, so the search ends a little before
the event that tells its sending or its arrival; it reads everything that is held only if there is none.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from relay.core.access.scopes import Scope
from relay.core.config.topics import mismatches
from relay.core.errors import NotFound
from relay.core.event import Event, PayloadFields
from relay.core.patterns import matches
from relay.linq.payloads.content import BodyContent
from relay.linq.payloads.handles import quoted
from relay.services.access import topics_of
from relay.services.topics.history.find import NotFoundYet
from relay.services.topics.history.pull import pull_parts
from relay.services.topics.history.push import EVERY, push_parts
from relay.services.topics.history.scan import Budget, Hit, ScanTarget, scan
from relay.services.topics.history.search import cursor_of, period_after
from relay.services.topics.history.view import view_of
from relay.services.topics.life.steps import Facts, Has, begins, is_about, step_of
from relay.services.topics.life.summary import RECEIPTS, Life, in_order
from relay.store.topics.stream_search import Condition, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig
    from relay.services.context import Context
    from relay.services.topics.history.scan import Period, Progress

SECONDS = 0.5
"""The time that a call takes by default to search, and again to look up what subscriptions have."""
_SECONDS_BEFORE = 0.5  # for what is before the beginning
_UNUSUAL = re.compile(r'[^\x20-\x7e]|["\\]')  # JSON may write it in several ways
_MAX_STEPS = 200  # of one call


class _Found(NamedTuple):
    hits: list[Hit]
    rest: Period | None
    """The period that is left; None if nothing more can be found."""


async def life_of(
    context: Context,
    principal: Principal,
    message_id: str,
    cursor: str | None = None,
    *,
    seconds: float | None = SECONDS,
    progress: Callable[[Progress], None] | None = None,
) -> Life:
    """Return the life of a message, as far as the topics that the principal sees hold it.

    With steps and a cursor, there was no time to search for earlier ones.

    Raises:
        NotFoundYet: there was no time to search everything, and nothing was found; call again with its cursor.
        NotFound: the topics hold no event of such a message.
        Invalid: it is no cursor.
    """
    principal.require(Scope.READ)
    config = await context.config()
    topics = await topics_of(context, principal)
    found = await _search(context, topics, message_id, period_after(cursor, None, None), Budget(seconds), progress)
    rest = cursor_of(found.rest)
    searched_to_ms = found.rest.before_ms if found.rest else None
    if not found.hits:
        if rest is not None and searched_to_ms is not None:
            raise NotFoundYet(message_id, rest, searched_to_ms, "event of message")
        raise NotFound(f'no event of message "{message_id}": the topics hold none')
    hides = context.settings.relay_hide_bodies
    read = [step_of(hit, message_id, hides_bodies=hides) for hit in found.hits]
    facts = Facts()
    for each in reversed(read):  # the oldest first: it is the sending, which tells most
        facts = facts.joined(each.facts)
    lookup, steps = Budget(seconds), []
    for hit, each in zip(found.hits, read, strict=True):
        has = None if lookup.is_over else await _has(context, principal, config, hit, lookup)
        steps.append(replace(each.step, has=has))
    return Life(
        message=message_id,
        steps=in_order(tuple(steps)),
        facts=facts,
        untaken=tuple(each for each in RECEIPTS if not _is_taken(config, principal, each, facts)),
        cursor=rest,
        searched_to_ms=searched_to_ms,
    )


async def _search(
    context: Context,
    topics: Sequence[str],
    message_id: str,
    period: Period,
    budget: Budget,
    progress: Callable[[Progress], None] | None,
) -> _Found:
    """Return the events of a message and of replies to it, newest first."""

    def accepts(fields: Mapping[bytes, bytes]) -> bool:
        return is_about(fields, message_id)

    def is_first(fields: Mapping[bytes, bytes]) -> bool:
        return begins(fields, message_id)

    wanted = ScanTarget((_condition(message_id),), _MAX_STEPS, accepts, is_first)
    scanned = await scan(context.redis, topics, wanted, period, budget, progress)
    hits, rest = list(scanned.hits), scanned.rest
    if rest is not None and rest.since_ms is not None and len(hits) < _MAX_STEPS:  # the beginning is found
        more = await scan(context.redis, topics, wanted, rest, Budget(_SECONDS_BEFORE), progress)
        hits, rest = [*hits, *more.hits], more.rest
    return _Found(hits, rest)


def _condition(message_id: str) -> Condition:
    """Return the condition that the events of a message meet, and replies to it unless its id is an unusual one."""
    if _UNUSUAL.search(message_id):
        return Condition("message", Kind.IS, message_id)
    return Condition("body", Kind.HAS, quoted(message_id))


async def _has(
    context: Context, principal: Principal, config: RelayConfig, hit: Hit, budget: Budget
) -> tuple[Has, ...]:
    """Return the states of an event at the push subscriptions and pull groups of the topics that hold it."""
    event = view_of(context.settings, hit.fields, *hit.places)
    push = await push_parts(context, principal, event, config=config, asked=EVERY, budget=budget, with_others=False)
    pull = await pull_parts(context, principal, event.places, budget)
    return (
        *(Has(part.subscription, str(part.state)) for part in push.parts),
        *(Has(f"{part.group} of {part.topic}", str(part.state)) for part in pull),
    )


def _is_taken(config: RelayConfig, principal: Principal, event_type: str, facts: Facts) -> bool:
    """Return True if a topic that the principal sees takes events of this type, of the message's line and chat.

    There is no such event, so conditions on a body fail.
    """
    asked = config.linq.events
    if asked is not None and not any(matches(pattern, event_type) for pattern in asked):
        return False
    fields = PayloadFields(facts.line, facts.chat, None, facts.direction, facts.service, facts.is_group)
    event = Event("", event_type, "", facts.line, fields)
    content = BodyContent(b"")
    return any(not mismatches(topic, event, content) for topic in config.topics if principal.sees_topic(topic.name))
