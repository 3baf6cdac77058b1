"""Dead letters of a pull group: events that its members could not handle, for inspection and replay.

A member moves an event there when it would be delivered once more than `max_deliveries`, or when its handler rejects
it: the event as in its topic, and `dead_*` fields. It is acknowledged in the same step. The letter stays until it is
replayed or dropped; beyond the topic's bounds the oldest are deleted.

A replay gives the event back to this group only: its entry in the topic becomes pending in the group again, as if a
member had handed it back, so the group's next reader gets it first, as its first delivery. Other groups do not see
that. Once the topic no longer has the entry, the event cannot be replayed; its letter has all there is of it.

`relay:dead` counts what became of letters, and knows which groups have some, also once a group is deleted: fields are
`known`, `replayed`, `dropped`, `discarded` or `alarm`, a colon, and `<topic>:<group>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from relay.consumer.names import LONG_IDLE_MS, RETURNED
from relay.core.event_filter import Candidate, EventFilter
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import is_entry_id, pages
from relay.store.isolation import checking_types, is_wrong_type
from relay.store.keys import GroupName
from relay.store.topics.record import Record, record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.core.config.topics import DeadBounds
    from relay.store.driver.client import Redis

MAX_DELIVERIES, REJECTED = "max_deliveries", "rejected"
"""The reasons of members."""

_PAGE = 200
_STEP = 200  # letters that one script deletes, which blocks Redis
_ANY = EventFilter()
_KINDS = ("known", "replayed", "dropped", "discarded")

_replay, _drop = Script(__package__, "group_letters_replay"), Script(__package__, "group_letters_drop")
_trim, _delete_group = Script(__package__, "group_letters_trim"), Script(__package__, "delete_group")
_read_pull_groups = Script(__package__, "read_pull_groups")


@dataclass(frozen=True, slots=True)
class GroupLetter:
    """A dead letter of a pull group."""

    topic: str
    group: str
    record: Record
    """The event; its `entry` is the dead letter's id."""
    entry: str
    """The id of the event's entry in the topic."""
    at: int
    """Time of dead-lettering, Unix milliseconds."""
    reason: str
    """`max_deliveries`, or `rejected`."""
    error: str
    """Error of the handler; empty if it is not known."""
    deliveries: int
    """The number of times that the group got the event."""
    member: str
    """The member that had it last."""

    @property
    def full_reason(self) -> str:
        """The reason with its error."""
        return f"{self.reason}: {self.error}" if self.error else self.reason

    def as_candidate(self) -> Candidate:
        """Return the fields that a filter can match."""
        record = self.record
        return Candidate(record.id, record.type, record.line, record.chat, reason=self.full_reason, at_ms=self.at)


class GroupCounts(NamedTuple):
    """Counters of the dead letters of a group."""

    replayed: int = 0
    dropped: int = 0
    discarded: int = 0
    """The number of those that were deleted since there were too many, or they were too old."""


class Replayed(NamedTuple):
    """The result of a replay."""

    replayed: int
    gone: Sequence[str]
    """Ids of the letters that stay, since the topic no longer has their events."""


class TrimmedLetters(NamedTuple):
    """The result of trimming the dead letters of a group."""

    expired: int
    """The number of deleted letters that were too old."""
    overflowed: int
    """The number of deleted letters beyond the size, or beyond the most that members keep."""
    letters: int
    """The number of remaining letters."""
    size: int
    """Bytes of Redis's memory that those take."""
    is_filling: bool
    """True if they have just grown beyond half of their size."""


class GroupLetters:
    """The dead letters of pull groups."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key

    async def known(self) -> dict[GroupName, GroupCounts]:
        """Return the groups that are known to have or have had dead letters, with what became of them."""
        found: dict[GroupName, dict[str, int]] = {}
        fields = await ask(self._redis.hgetall(self._key.group_letters))
        for field, number in fields.items():
            kind, _, name = field.decode(errors="replace").partition(":")
            topic, _, group = name.partition(":")
            if kind in _KINDS:
                found.setdefault(GroupName(topic, group), {})[kind] = int(number)
        return {
            name: GroupCounts(*(counts.get(kind, 0) for kind in GroupCounts._fields)) for name, counts in found.items()
        }

    async def places(self, topics: Sequence[str]) -> dict[GroupName, str]:
        """Return the place of each group of `topics` that has noted where it resumes."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for topic in topics:
                pipe.hgetall(self._key.places(topic))
            replies: list[Any] = await pipe.execute(raise_on_error=False) if topics else []
        found = {}
        for topic, fields in zip(topics, replies, strict=True):
            _raise_unless_wrong_type(fields)
            for group, place in () if isinstance(fields, Exception) else fields.items():
                found[GroupName(topic, group.decode(errors="replace"))] = place.decode(errors="replace")
        return found

    async def numbers(self, groups: Sequence[GroupName]) -> dict[GroupName, int]:
        """Return the number of dead letters of each group; 0 if they were overwritten."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in groups:
                pipe.xlen(self._key.group_dead(*name))
            replies: list[Any] = await pipe.execute(raise_on_error=False) if groups else []
        for reply in replies:
            _raise_unless_wrong_type(reply)
        return {
            name: 0 if isinstance(reply, Exception) else int(reply) for name, reply in zip(groups, replies, strict=True)
        }

    async def of(self, name: GroupName, which: EventFilter = _ANY) -> AsyncIterator[GroupLetter]:
        """Yield the matching dead letters of a group, oldest first."""
        start = "-"
        while rows := await checking_types(self._redis.xrange(self._key.group_dead(*name), start, "+", count=_PAGE)):
            for entry, fields in rows:
                letter = letter_of(name, entry, fields)
                if which.matches(letter.as_candidate()):
                    yield letter
            start = f"({rows[-1][0].decode()}"

    async def by_ids(self, name: GroupName, ids: Sequence[str]) -> list[GroupLetter]:
        """Return the dead letters of a group with these ids, without those that do not exist."""
        found: list[GroupLetter] = []
        for page in pages(ids, _PAGE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for letter in page:
                    pipe.xrange(self._key.group_dead(*name), letter, letter)
                replies = await checking_types(pipe.execute())
            found += [letter_of(name, *row) for rows in replies for row in rows]
        return found

    async def replay(self, name: GroupName, ids: Sequence[str]) -> Replayed | None:
        """Give the events of dead letters back to their group, and only to it; None if the group does not exist."""
        count, gone = 0, []
        redis_keys = [self._key.topic(name.topic), self._key.places(name.topic), *self._letters_of(name)]
        for page in pages(ids, _PAGE):
            arguments: list[str | int] = [name.group, _id_of(name), RETURNED, LONG_IDLE_MS, *page]
            reply = await checking_types(_replay(self._redis, redis_keys, arguments))
            if reply is None:
                return None
            count += reply[0]
            gone += [letter.decode() for letter in reply[1:]]
        return Replayed(count, gone)

    async def would_replay(self, name: GroupName, ids: Sequence[str]) -> Replayed:
        """Return the result that a replay would have."""
        letters = await self.by_ids(name, ids)
        gone: list[str] = []
        for page in pages(letters, _PAGE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for letter in page:
                    entry = letter.entry if is_entry_id(letter.entry) else "0-0"  # there is none of that id
                    pipe.xrange(self._key.topic(name.topic), entry, entry)
                replies = await checking_types(pipe.execute())
            gone += [letter.record.entry for letter, rows in zip(page, replies, strict=True) if not rows]
        return Replayed(len(letters) - len(gone), gone)

    async def drop(self, name: GroupName, ids: Sequence[str]) -> int:
        """Delete dead letters; return the number that still existed."""
        dropped = 0
        for page in pages(ids, _PAGE):
            dropped += int(await checking_types(_drop(self._redis, self._letters_of(name), [_id_of(name), *page])))
        return dropped

    async def trim(self, name: GroupName, bounds: DeadBounds, now_ms: int) -> TrimmedLetters:
        """Delete the oldest dead letters beyond `bounds`, in steps between which Redis serves other clients."""
        young = max(now_ms - round(bounds.keep * 1000), 0)
        arguments: list[str | int] = [_id_of(name), young, bounds.size, _STEP]
        expired = overflowed = 0
        is_filling = False
        while True:
            old, over, pushed_out, letters, size, crossed = await _trim(self._redis, self._letters_of(name), arguments)
            expired, overflowed = expired + old, overflowed + over + pushed_out
            is_filling = is_filling or bool(crossed)
            if old + over < _STEP:
                return TrimmedLetters(expired, overflowed, letters, size, is_filling)

    async def delete_group(self, name: GroupName, *, with_letters: bool) -> int | None:
        """Delete a group with its place; return the number of deleted dead letters, or None if there is no group."""
        redis_keys = [self._key.topic(name.topic), self._key.places(name.topic), *self._letters_of(name)]
        arguments: list[str | int] = [name.group, _id_of(name), int(with_letters)]
        existed, letters = await checking_types(_delete_group(self._redis, redis_keys, arguments))
        return letters if existed else None

    def _letters_of(self, name: GroupName) -> list[str]:
        return [self._key.group_dead(*name), self._key.group_letters]


async def groups_with_letters(redis: Redis, topics: Sequence[str]) -> dict[GroupName, int]:
    """Return the number of dead letters of each group that has some.

    Looked at are the groups of `topics`, those that noted a place there, and those that were known to have letters.
    """
    letters = GroupLetters(redis)
    names = {*await pull_groups(redis, topics), *await letters.known()}
    return {name: number for name, number in (await letters.numbers(sorted(names))).items() if number}


async def pull_groups(redis: Redis, topics: Sequence[str]) -> set[GroupName]:
    """Return the pull groups of `topics`, and those that noted a place there."""
    found = set()
    for page in pages(topics, _PAGE):
        redis_keys = [key for topic in page for key in (redis.key.topic(topic), redis.key.places(topic))]
        names: Any = await _read_pull_groups(redis, redis_keys, [keys.PUSH_GROUP_PREFIX])
        found |= {
            GroupName(topic, name.decode(errors="replace"))
            for topic, groups in zip(page, names, strict=True)
            for name in groups
        }
    return found


def letter_of(name: GroupName, entry: bytes, fields: Mapping[bytes, bytes]) -> GroupLetter:
    """Return the dead letter of an entry in a group's stream of them, which programs of teams write."""

    def text(field: str) -> str:
        return fields.get(f"dead_{field}".encode(), b"").decode(errors="replace")

    def number(field: str) -> int:
        found = text(field)
        return int(found) if found.isascii() and found.isdecimal() else 0

    if not fields.get(b"at", b"0").isdigit():
        fields = {**fields, b"at": b"0"}
    return GroupLetter(
        topic=name.topic,
        group=name.group,
        record=record_of(entry, fields),
        entry=text("entry"),
        at=number("at") or int(entry.partition(b"-")[0]),
        reason=text("reason"),
        error=text("error"),
        deliveries=number("deliveries"),
        member=text("member"),
    )


def _id_of(name: GroupName) -> str:
    return f"{name.topic}:{name.group}"


def _raise_unless_wrong_type(reply: Any) -> None:
    if isinstance(reply, Exception) and not (isinstance(reply, ResponseError) and is_wrong_type(reply)):
        raise reply
