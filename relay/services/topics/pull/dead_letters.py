"""Dead letters of pull groups: looking at them, giving their events back to their group, and dropping them.

A team sees those of its groups. They are there also if the group is deleted; then they can only be dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from relay.core.access.scopes import Scope
from relay.core.errors import ConfigError, Conflict, Hint, NotFound
from relay.core.event_filter import EventFilter
from relay.services.access import check_topic, sees_pull_group, topics_of, unknown_group
from relay.services.page import DEFAULT_LIMIT, Page, bound_at, check_limit, page_of, place_of
from relay.services.topics.history.view import shown_body
from relay.store import keys
from relay.store.driver.streams import SKEW_MS
from relay.store.sharding.places import is_entry_name
from relay.store.sharding.shards import Shards
from relay.store.sharding.streams import Bounds, merged_shards
from relay.store.topics.pull.dead_letters import Replayed
from relay.store.topics.pull.whole import groups_by_shard
from relay.store.topics.pull.whole_letters import AllGroupLetters, all_with_letters, letter_at
from relay.store.topics.topics import topic_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.history.view import Body
    from relay.store.driver.merged_streams import Entry
    from relay.store.keys import GroupName
from relay.store.topics.pull.dead_letters import GroupLetter

_BATCH = 100  # dead letters in one step
_ANY = EventFilter()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Choice:
    """The dead letters that a change is about."""

    group: GroupName
    which: EventFilter = _ANY
    ids: Sequence[str] | None = None
    """Only these dead letters (the ids of their entries); the filter is then left out."""


@dataclass(frozen=True, slots=True)
class LetterInFull:
    """A dead letter with its body."""

    letter: GroupLetter
    is_kept: bool
    """True if the topic has the event, so that the group can get it back."""
    body: Body


async def numbers(context: Context, principal: Principal) -> dict[GroupName, int]:
    """Return the number of dead letters of each group that has some; operators see them also without valid rules."""
    principal.require(Scope.READ)
    try:
        topics = await topics_of(context, principal)
    except ConfigError:
        if not principal.is_operator:
            raise
        topics = await topic_names(context.redis, ())
    found = await all_with_letters(context.redis, topics)
    return {
        name: number
        for name, number in found.items()
        if name.topic in topics and sees_pull_group(principal, name.group)
    }


async def search(
    context: Context,
    principal: Principal,
    name: GroupName,
    which: EventFilter = _ANY,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[GroupLetter]:
    """Return a page of the dead letters of a group, oldest first.

    Raises:
        NotFound: there is no such topic, or it has no such group.
        Invalid: the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    await _check(context, principal, name)
    after, limit = place_of(cursor), check_limit(limit)
    since = bound_at(which.since_ms, SKEW_MS)

    def matching(entry: Entry) -> GroupLetter | None:
        letter = letter_at(name, entry)
        return letter if which.matches(letter.as_candidate()) else None

    entries = merged_shards(
        Shards.from_home(context.redis),
        lambda shard: {"": shard.key.group_dead(*name)},
        **Bounds(after=after, since=since, count=limit),
    )
    return await page_of(entries, limit, matching)


async def every(
    context: Context, principal: Principal, name: GroupName, which: EventFilter = _ANY
) -> AsyncIterator[GroupLetter]:
    """Yield all dead letters of a group that match, oldest first; reads all of them.

    Raises:
        NotFound: there is no such topic, or it has no such group.
    """
    principal.require(Scope.READ)
    await _check(context, principal, name)
    async for letter in AllGroupLetters(context.redis).of(name, which):
        yield letter


async def get(context: Context, principal: Principal, name: GroupName, letter_id: str) -> LetterInFull:
    """Return a dead letter by the id of its entry.

    Raises:
        NotFound: there is no such topic, group or letter.
    """
    principal.require(Scope.READ)
    await _check(context, principal, name)
    letters = await AllGroupLetters(context.redis).by_ids(name, _checked([letter_id]))
    if not letters:
        raise NotFound(f'{name} has no dead letter "{letter_id}"; it may have been replayed or dropped')
    [found] = await in_full(context, principal, name, letters)
    return found


async def in_full(
    context: Context, principal: Principal, name: GroupName, letters: Sequence[GroupLetter]
) -> list[LetterInFull]:
    """Return dead letters of a group with their bodies."""
    principal.require(Scope.READ)
    ids = [letter.record.entry for letter in letters]
    gone = set((await AllGroupLetters(context.redis).would_replay(name, ids)).gone)
    return [
        LetterInFull(letter, letter.record.entry not in gone, shown_body(context.settings, letter.record.body))
        for letter in letters
    ]


async def replay(
    context: Context,
    principal: Principal,
    choice: Choice,
    why: str = "",
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Give the events of dead letters back to their group, and only to it; return how many, and which are gone.

    Each is the group's next event, as its first delivery. Letters stay whose events the topic no longer has: of a dry
    run, too, the result tells which.

    Raises:
        NotFound: there is no such topic, or it has no such group.
        Conflict: the group was deleted, or lost.
    """
    principal.require(Scope.REPLAY)
    name, letters = choice.group, AllGroupLetters(context.redis)
    ids = await _chosen(context, principal, choice)
    if not any(name.group in groups for groups in await groups_by_shard(context.redis, name.topic)):
        raise _no_group(name)
    if dry_run:
        return await letters.would_replay(name, ids)
    await context.record(principal, "dead replay", str(name), len(ids), why)
    replayed = 0
    gone: list[str] = []
    for start in range(0, len(ids), _BATCH):
        done = await letters.replay(name, ids[start : start + _BATCH])
        if done is None:
            raise _no_group(name)
        replayed, gone = replayed + done.replayed, [*gone, *done.gone]
        if progress is not None:
            progress(min(start + _BATCH, len(ids)), len(ids))
    return Replayed(replayed, gone)


async def drop(
    context: Context,
    principal: Principal,
    choice: Choice,
    why: str,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Delete dead letters of a group; return how many.

    Raises:
        NotFound: there is no such topic, or it has no such group.
    """
    principal.require(Scope.REPLAY)
    name, letters = choice.group, AllGroupLetters(context.redis)
    ids = await _chosen(context, principal, choice)
    if dry_run:
        return len(ids)
    await context.record(principal, "dead drop", str(name), len(ids), why)
    dropped = 0
    for start in range(0, len(ids), _BATCH):
        dropped += await letters.drop(name, ids[start : start + _BATCH])
        if progress is not None:
            progress(min(start + _BATCH, len(ids)), len(ids))
    log.warning("dead.dropped", topic=name.topic, group=name.group, events=dropped, why=why)
    return dropped


async def _chosen(context: Context, principal: Principal, choice: Choice) -> list[str]:
    """Return the ids of the chosen dead letters."""
    await _check(context, principal, choice.group)
    letters = AllGroupLetters(context.redis)
    if choice.ids is None:
        return [letter.record.entry async for letter in letters.of(choice.group, choice.which)]
    return [letter.record.entry for letter in await letters.by_ids(choice.group, _checked(choice.ids))]


async def _check(context: Context, principal: Principal, name: GroupName) -> None:
    """Check that a group exists, or has dead letters."""
    await check_topic(context, principal, name.topic)
    is_push = name.group.startswith(keys.PUSH_GROUP_PREFIX)
    groups = set().union(*await groups_by_shard(context.redis, name.topic))
    is_seen = not is_push and sees_pull_group(principal, name.group)
    if is_seen and (name.group in groups or (await AllGroupLetters(context.redis).numbers([name]))[name]):
        return
    groups |= {each.group for each in await numbers(context, principal) if each.topic == name.topic}
    seen = {group for group in groups if not group.startswith(keys.PUSH_GROUP_PREFIX)}
    raise unknown_group(name.topic, name.group, (group for group in seen if sees_pull_group(principal, group)))


def _checked(ids: Iterable[str]) -> list[str]:
    return [letter_id for letter_id in dict.fromkeys(ids) if is_entry_name(letter_id)]


def _no_group(name: GroupName) -> Conflict:
    return Conflict(
        f"{name} was deleted or lost, so there is nothing to give events back to until a reader makes it again; its "
        "dead letters can be shown and dropped",
        hint=Hint(
            f"relay dead show --group {name} --json", f"GET /topics/{name.topic}/groups/{name.group}/dead-letters"
        ),
    )
