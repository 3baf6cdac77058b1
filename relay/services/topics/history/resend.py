"""Sending one event again, to one push subscription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.config.topics import filtered_by
from relay.core.errors import Conflict, Forbidden, Hint, NotFound
from relay.services.access import check_topic, configured, team_of, topics_of
from relay.services.account.teams import find_team
from relay.services.topics.history.find import claim_on, find
from relay.services.topics.history.push import Suspended
from relay.services.topics.history.scan import Budget
from relay.services.topics.history.story import SECONDS
from relay.services.topics.history.view import Place, view_of
from relay.store.driver.client import ask
from relay.store.driver.streams import is_entry_id
from relay.store.lanes.lane import Lane
from relay.store.sharding.places import entry_name
from relay.store.topics.resend import append_replay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.services.context import Context
    from relay.services.topics.history.scan import Progress
    from relay.services.topics.history.view import EventView


@dataclass(frozen=True, slots=True)
class Resent:
    """An event that was sent again."""

    event_id: str
    place: Place
    """The topic's entry that was sent."""
    subscription: str
    replay: str
    """The entry among the subscription's replays."""
    notes: tuple[str, ...] = ()
    """Reasons why it waits."""


async def resend(  # noqa: PLR0913  an event and a subscription
    context: Context,
    principal: Principal,
    event_id: str,
    subscription: str,
    *,
    topic: str | None = None,
    why: str = "",
    seconds: float | None = SECONDS,
    progress: Callable[[Progress], None] | None = None,
) -> Resent:
    """Send an event that a topic holds to a subscription again, in addition to what is under way.

    It is taken from `topic`, else from the subscription's own topic if that holds it, else from any other that does.

    Raises:
        NotFoundYet: there was no time to search everything; name the topic, or give it more time.
        NotFound: there is no such subscription, or no topic that the principal sees holds the event.
        Forbidden: the team of the subscription may not read the topic.
        Conflict: the subscription's filter excludes the event.
        TooMany: too many replays wait already.
    """
    principal.require(Scope.REPLAY)
    config = await context.config()
    target = configured(config, principal, subscription)
    if topic is not None:
        await check_topic(context, principal, topic)
    topics = await topics_of(context, principal) if topic is None else [topic]
    held = await find(context, topics, event_id, await claim_on(context, event_id), None, Budget(seconds), progress)
    if held is None:
        raise NotFound(
            f'no event "{event_id}" in the topics; one that was trimmed can only be sent again as a dead letter',
            hint=Hint(f"relay dead replay --id {event_id}", "POST /dead-letters/replay"),
        )
    place = await _granted(context, config, target, held.places)
    return await _send(context, principal, target, view_of(context.settings, held.fields, place), why)


async def resend_entry(
    context: Context, principal: Principal, place: Place, subscription: str, why: str = ""
) -> Resent:
    """Send the event of a topic's entry to a subscription again, on the shard that has it.

    Raises:
        NotFound, Forbidden, Conflict, TooMany: as `resend`.
    """
    principal.require(Scope.REPLAY)
    config = await context.config()
    target = configured(config, principal, subscription)
    await check_topic(context, principal, place.topic)
    rows = []
    if is_entry_id(place.id) and place.shard < len(context.redis.shards):
        shard = context.redis.shards[place.shard]
        rows = await ask(shard.xrange(shard.key.topic(place.topic), place.id, place.id))
    if not rows:
        raise _gone(place)
    await _granted(context, config, target, [place])
    return await _send(context, principal, target, view_of(context.settings, rows[0][1], place), why)


async def _granted(context: Context, config: RelayConfig, target: Subscription, places: Sequence[Place]) -> Place:
    """Return the place from which the subscription may get the event; its own topic first."""
    owner = team_of(target)
    team = None if owner is None else await find_team(context, config, owner)
    granted = [place for place in places if owner is None or (team is not None and team.grants(place.topic))]
    if not granted:
        names = " and ".join(f'"{place.topic}"' for place in places)
        raise Forbidden(f'team "{owner}", which owns {target.name}, may not read topic {names}')
    return next((place for place in granted if place.topic == target.topic), granted[0])


async def _send(context: Context, principal: Principal, target: Subscription, event: EventView, why: str) -> Resent:
    [place] = event.places
    if reasons := filtered_by(target, event.event()):
        raise Conflict(f"the filter of {target.name} excludes the event: {'; '.join(reasons)}")
    shard = context.redis.shards[place.shard]
    await Lane(shard, target.name, target.topic).ensure()
    await context.record(principal, "replay event", f"{event.id} of {place.topic} to {target.name}", 1, why)
    replay = await append_replay(shard, place.topic, place.id, target.name, context.now_ms)
    if replay is None:
        raise _gone(place)
    notes = (await Suspended.read(context.redis)).notes_on(target)
    return Resent(event.id, place, target.name, entry_name(replay, place.shard), tuple(notes))


def _gone(place: Place) -> NotFound:
    return NotFound(f'topic "{place.topic}" has no entry {place.entry}; it may have been trimmed')
