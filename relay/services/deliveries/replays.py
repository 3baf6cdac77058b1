"""Replays: a topic's history, sent to a push subscription again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint, Invalid, NotFound, Problem, TooMany
from relay.core.event_filter import EventFilter
from relay.services.access import check_topic, subscriptions_of
from relay.services.wording import counted
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics import replays as stored
from relay.store.topics.history import Extent, History, Survey, oldest_of, whole_extent, whole_survey
from relay.store.topics.replays import Order, Replay, Replays, State
from relay.store.topics.whole.replays import WholeReplays

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.core.access.principal import Principal
    from relay.services.context import Context

_ANY = EventFilter()


@dataclass(frozen=True, slots=True)
class Request:
    """A replay as it is asked for."""

    topic: str
    to: str
    """The push subscription."""
    which: EventFilter = _ANY
    """Only these types and lines."""
    since_ms: float | None = None
    """The first moment of routing, Unix milliseconds; None is the beginning of the history."""
    until_ms: float | None = None
    """The moment of routing after the last one; None is now."""
    rate: float = 50.0
    """Events a second, at most."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The events that a replay would send."""

    order: Order
    surveys: tuple[Survey, ...]
    """The contents of the period on each shard, by number."""
    extent: Extent
    is_cut: bool
    """True if the history does not reach back to the beginning of the period."""
    oldest_ms: int | None
    """Time of routing of the oldest event that is kept, Unix milliseconds."""

    @property
    def survey(self) -> Survey:
        """The contents of the period."""
        return whole_survey(self.surveys)


@dataclass(frozen=True, slots=True)
class ReplayState:
    """A replay and its progress."""

    replay: Replay
    waits: bool
    """True if it runs, and its subscription does not deliver."""


async def preview(context: Context, principal: Principal, request: Request) -> Preview:
    """Return the events that a replay would send, perhaps none; reads the whole period.

    Raises:
        NotFound: there is no such topic or subscription.
        Invalid: the period or the rate is wrong.
    """
    principal.require(Scope.REPLAY)
    _check(request)
    await check_topic(context, principal, request.topic)
    known = sorted(subscriptions_of(await context.config(), principal))
    if request.to not in known:
        raise NotFound(f'no push subscription "{request.to}" (known: {", ".join(known) or "none"})')
    parts = await asyncio.gather(*(_part(History(shard, request.topic), request) for shard in context.redis.shards))
    extents, surveys = [extent for extent, _ in parts], tuple(survey for _, survey in parts)
    extent = whole_extent(extents)
    order = Order(request.topic, request.to, request.which, request.rate, principal.name)
    return Preview(order, surveys, extent, not extent.reaches(request.since_ms), oldest_of(extents))


async def _part(history: History, request: Request) -> tuple[Extent, Survey]:
    """Return the extent of the history on a shard, and the contents of the period there."""
    extent = await history.extent()
    span = await history.span(request.since_ms, request.until_ms)
    return extent, await history.survey(span, request.which)


async def start(
    context: Context, principal: Principal, request: Request, why: str = "", *, of: Preview | None = None
) -> Replay:
    """Start a replay; `of` is a preview of the same request, so that the period is not read again.

    Raises:
        NotFound, Invalid: as `preview`.
        Conflict: nothing matches.
        TooMany: too many replays run.
    """
    principal.require(Scope.REPLAY)
    found = of or await preview(context, principal, request)
    order, survey = found.order, found.survey
    if not survey.matching:
        raise nothing_matches(found)
    running = await Replays(context.redis).running()
    if len(running) >= (limit := stored.MAX_RUNNING):
        raise TooMany(f"{counted(limit, 'replay')} can run at a time; wait for one to end, or cancel one")
    known = await _known(context, principal)
    if known is not None and sum(each.order.to in known for each in running) >= (limit := stored.MAX_RUNNING // 4):
        raise TooMany(f"{counted(limit, 'replay')} of a team can run at a time; wait for one to end, or cancel one")
    await context.record(principal, "replay", f"{order.topic} to {order.to}", survey.matching, why)
    return await WholeReplays(context.redis).start(order, found.surveys, context.now_ms)


async def list_replays(context: Context, principal: Principal) -> list[ReplayState]:
    """Return the running replays and those that ended in the last week, the oldest first."""
    principal.require(Scope.READ)
    known = await _known(context, principal)
    found = [replay for replay in await WholeReplays(context.redis).all() if known is None or replay.order.to in known]
    suspensions = Suspensions(context.redis)
    suspended = {*await suspensions.pauses(), *await suspensions.open_breakers(), *await _paused(context)}
    return [ReplayState(replay, _runs(replay) and replay.order.to in suspended) for replay in found]


async def get(context: Context, principal: Principal, replay_id: str) -> ReplayState:
    """Return a replay.

    Raises:
        NotFound: there is none with that id.
    """
    principal.require(Scope.READ)
    replay = await _get(context, principal, replay_id)
    name = replay.order.to
    is_suspended = name in await _paused(context) or await Suspensions(context.redis).is_suspended(name)
    return ReplayState(replay, _runs(replay) and is_suspended)


async def cancel(context: Context, principal: Principal, replay_id: str, why: str = "") -> Replay:
    """Stop a replay; events that it has already queued are still delivered.

    Raises:
        NotFound: there is none with that id.
        Conflict: it has already ended.
    """
    principal.require(Scope.REPLAY)
    await _get(context, principal, replay_id)
    await context.record(principal, "replay cancel", replay_id, why=why)
    reason = f"by {principal.name}"
    was_running = await WholeReplays(context.redis).end(replay_id, State.CANCELLED, reason, context.now_ms)
    found = await _get(context, principal, replay_id)
    if not was_running:
        raise Conflict(f"replay {replay_id} has already ended: {found.state}")
    return found


def nothing_matches(found: Preview) -> Conflict:
    """Return the error that there is nothing to send, with the reason."""
    order, survey, oldest_ms = found.order, found.survey, found.oldest_ms
    if survey.events:
        return Conflict(f'none of the {counted(survey.events, "event")} of "{order.topic}" in that period matches')
    if oldest_ms is None:
        return Conflict(f'topic "{order.topic}" has no events')
    oldest = datetime.fromtimestamp(oldest_ms / 1000, UTC).astimezone().isoformat(" ", "seconds")
    return Conflict(f'topic "{order.topic}" has no events in that period; its oldest event is from {oldest}')


def _check(request: Request) -> None:
    since, until = request.since_ms, request.until_ms
    if since is not None and until is not None and since >= until:
        raise Invalid(Problem("since", "it is not before the end of the period"))
    if not 0 < request.rate < float("inf"):
        raise Invalid(Problem("rate", f"{request.rate:g} is not a number of events a second"))


async def _known(context: Context, principal: Principal) -> Collection[str] | None:
    """Return the subscriptions whose replays the principal sees; None is all."""
    return None if principal.is_operator else subscriptions_of(await context.config(), principal)


async def _get(context: Context, principal: Principal, replay_id: str) -> Replay:
    known = await _known(context, principal)
    found = await WholeReplays(context.redis).get(replay_id)
    if found is None or (known is not None and found.order.to not in known):
        raise NotFound(
            f'no replay "{replay_id}"', hint=Hint("relay replay list shows the ids", "GET /replays lists them")
        )
    return found


async def _paused(context: Context) -> set[str]:
    """Return the subscriptions that the rules pause."""
    return {known.name for known in (await context.config()).subscriptions if known.paused}


def _runs(replay: Replay) -> bool:
    return replay.state is State.RUNNING
