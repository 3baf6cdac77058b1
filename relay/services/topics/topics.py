"""Topics: their size, age and readers, and dropping one that the rules no longer have.

Operators are also shown ghost streams, which readers with a misspelt topic have made in Redis, and can drop them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint, NotFound
from relay.services.access import group_visibility, topics_of
from relay.store.lanes.topic_drop import DroppedTopic, drop_topic
from relay.store.topics.pull.dead_letters import groups_with_letters
from relay.store.topics.registry import UnknownTopic, ghost_streams, nearest_topic
from relay.store.topics.topics import REMOVED, GroupState, counted_state, estimated_state, read_topics, whole_topic

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.topics import Topic
    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from relay.store.keys import GroupName
    from relay.store.topics.topics import TopicState as StoredState


UNKNOWN = "unknown"
"""State of a ghost stream."""

_LOOK_FOR = 2.0  # seconds for a look at all keys; a million take less than one


@dataclass(frozen=True, slots=True)
class TopicState:
    """The size and age of a topic, with those of its consumer groups that the principal sees."""

    name: str
    state: str
    """`active`; `removed` if the rules no longer have it; `unknown` for a ghost stream."""
    events: int
    """The number of kept events."""
    size: int
    """Bytes of Redis's memory."""
    oldest_ms: int | None
    """Time of routing of the oldest, Unix milliseconds."""
    groups: tuple[GroupState, ...]
    rules: Topic | None
    """Its table in the rules; None if it was removed."""
    nearest: str | None = None
    """For a ghost stream, the topic whose name is most like its own."""

    @property
    def unread(self) -> int:
        """The number of events that the reader furthest behind has not handled."""
        return max((group.lag + group.pending for group in self.groups), default=0)


async def list_states(context: Context, principal: Principal, *, is_exact: bool = False) -> list[TopicState]:
    """Return the state of the topics: those of the rules in their order, then all that ever had an event.

    With `is_exact`, the lags are counted, which reads what no group has read; else they are Redis's own numbers.
    """
    principal.require(Scope.READ)
    return await read_states(context, principal, await topics_of(context, principal), is_exact=is_exact)


async def get_state(context: Context, principal: Principal, name: str, *, is_exact: bool = False) -> TopicState:
    """Return the state of one topic.

    Raises:
        NotFound: there is none of that name.
    """
    principal.require(Scope.READ)
    names = await topics_of(context, principal)
    if name not in names:
        raise _unknown(name, names)
    [state] = await read_states(context, principal, [name], is_exact=is_exact)
    return state


async def list_ghosts(context: Context, principal: Principal) -> list[TopicState]:
    """Return the ghost streams; none for a team, or if the user of Redis may not look for them.

    Nothing is routed to them: a reader of Redis has misspelt the name of its topic.
    """
    principal.require(Scope.READ)
    if not principal.is_operator:
        return []
    known = await topics_of(context, principal)
    try:
        ghosts = await ghost_streams(context.redis, set(known), _LOOK_FOR)
    except NoPermissionError:  # relay doctor tells which right it takes
        return []
    states = await read_states(context, principal, ghosts.names)
    return [replace(each, state=UNKNOWN, nearest=nearest_topic(each.name, known)) for each in states]


async def droppable(context: Context, principal: Principal, name: str, *, even_unread: bool = False) -> TopicState:
    """Return the state of a topic that `drop` would delete.

    Raises:
        NotFound: there is none of that name.
        Conflict: the rules have it, or a reader has unread events and `even_unread` is not set.
    """
    principal.require_operator(Scope.ADMIN)
    topic = await _state_or_ghost(context, principal, name)
    if topic.state != REMOVED:
        raise Conflict(f"{name} is still in {context.settings.relay_config}; remove it there first, or it starts again")
    force = Hint("--force drops them too", "even_unread=true drops them too")
    behind = [group for group in topic.groups if group.lag + group.pending]
    if behind and not even_unread:
        readers = ", ".join(f"{group.name} {group.lag} unread and {group.pending} pending" for group in behind)
        raise Conflict(f"{name} has events that are not handled yet ({readers})", hint=force)
    letters: Counter[GroupName] = Counter()
    for shard in context.redis.shards:
        letters.update(await _letters(shard, name))
    if letters and not even_unread:
        dead = ", ".join(f"{group.group} {number}" for group, number in letters.items())
        raise Conflict(f"pull groups of {name} have dead letters ({dead})", hint=force)
    return topic


async def drop(
    context: Context, principal: Principal, name: str, why: str = "", *, even_unread: bool = False
) -> DroppedTopic:
    """Delete a topic that the rules no longer have, with its events and consumer groups.

    Raises:
        NotFound, Conflict: as `droppable`.
    """
    topic = await droppable(context, principal, name, even_unread=even_unread)
    await context.record(principal, "topics drop", name, topic.events, why)
    events = 0
    undelivered: Counter[str] = Counter()
    for shard in reversed(context.redis.shards):  # the first has its name: what is interrupted can be repeated
        dropped = await drop_topic(shard, name, list(await _letters(shard, name)))
        events += dropped.events
        undelivered.update(dropped.undelivered)
    return DroppedTopic(events, dict(undelivered))


async def _letters(shard: Redis, name: str) -> dict[GroupName, int]:
    found = await groups_with_letters(shard, [name])
    return {group: number for group, number in found.items() if group.topic == name}


async def _state_or_ghost(context: Context, principal: Principal, name: str) -> TopicState:
    """Return the state of a topic, or of a stream that is like one."""
    is_known = name in await topics_of(context, principal)
    if not is_known and any([await shard.exists(shard.key.topic(name)) for shard in context.redis.shards]):
        [state] = await read_states(context, principal, [name], is_exact=True)
        return state
    return await get_state(context, principal, name, is_exact=True)


async def read_states(
    context: Context, principal: Principal, names: Sequence[str], *, is_exact: bool = False
) -> list[TopicState]:
    """Return the state of the topics of these names, all of which the principal must see."""
    config = await context.config()
    rules = {topic.name: topic for topic in config.topics}
    found = []
    for stored in await _stored(context.redis, names, rules, is_exact=is_exact):
        groups = filter(group_visibility(config, principal), stored.groups)
        found.append(_seen(stored, tuple(groups), rules.get(stored.name)))
    return found


async def _stored(redis: Redis, names: Sequence[str], rules: Container[str], *, is_exact: bool) -> list[StoredState]:
    """Return the states of topics, each the sum of its parts on all shards."""
    parts = []
    for shard in redis.shards:
        readings = await read_topics(shard, names)
        parts.append(
            [await counted_state(shard, each, rules) if is_exact else estimated_state(each, rules) for each in readings]
        )
    return parts[0] if len(parts) == 1 else [whole_topic(of_topic) for of_topic in zip(*parts, strict=True)]


def _seen(stored: StoredState, groups: tuple[GroupState, ...], rules: Topic | None) -> TopicState:
    return TopicState(stored.name, stored.state, stored.events, stored.size, stored.oldest_ms, groups, rules)


def _unknown(name: str, known: Sequence[str]) -> NotFound:
    return NotFound(str(UnknownTopic(name, known)))
