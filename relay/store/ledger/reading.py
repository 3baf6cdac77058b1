"""Reading of lanes and of the streams that they read, for their ledgers: a page of lanes as of one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store import keys
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis

_read = Script(__package__, "read_ledgers")


class GroupReply(NamedTuple):
    """A consumer group of a stream, as Redis describes it."""

    position: str
    """The last entry that it has read."""
    pending: int
    lag: int | None
    """Redis's own number of entries that it has not read; None if Redis does not know it."""


class StreamReply(NamedTuple):
    """A stream, and the groups of a page of lanes; it may not exist."""

    stream: str
    exists: bool = False
    has_wrong_type: bool = False
    length: int = 0
    last: str = ""
    """The last entry that it ever had."""
    entries_added: int = 0
    first: str = ""
    """The first entry; empty if there is none."""
    groups: Mapping[str, GroupReply] = {}


class LaneReply(NamedTuple):
    """A lane."""

    fields: Mapping[str, str]
    retrying: int
    dead: int
    replay: StreamReply
    """Its stream of replays."""
    has_wrong_type: bool = False

    @property
    def streams(self) -> list[str]:
        """Return every topic stream that it ever read."""
        return streams_in(self.fields)


async def read_lanes(redis: Redis, names: Sequence[str]) -> tuple[dict[str, LaneReply], dict[str, StreamReply]]:
    """Return lanes by name, and by key the topic streams that they ever read."""
    groups = [keys.push_group(name) for name in names]
    of_lanes, streams, of_streams = await _read(redis, [redis.key.lane(name) for name in names], groups)
    read = [stream.decode() for stream in streams]
    return (
        {name: _lane(redis.key.lane(name, "replay"), reply) for name, reply in zip(names, of_lanes, strict=True)},
        {stream: _stream(stream, reply) for stream, reply in zip(read, of_streams, strict=True)},
    )


def fields_of(flat: Sequence[bytes]) -> dict[str, str]:
    """Return the fields of a lane's hash, from the reply of a script."""
    texts = [text.decode(errors="replace") for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def streams_in(fields: Iterable[str]) -> list[str]:
    """Return every topic stream that a lane with these fields ever read."""
    return [field.removeprefix("start:") for field in fields if field.startswith("start:")]


def _lane(replay: str, reply: Any) -> LaneReply:
    if isinstance(reply, bytes):
        return LaneReply({}, 0, 0, StreamReply(replay), has_wrong_type=True)
    flat, retrying, dead, of_replay = reply
    return LaneReply(fields_of(flat), retrying, dead, _stream(replay, of_replay))


def _stream(name: str, reply: Any) -> StreamReply:
    if reply is None:
        return StreamReply(name)
    if isinstance(reply, bytes):
        return StreamReply(name, has_wrong_type=True)
    length, last, added, first, groups = reply
    by_name = {group.decode(): GroupReply(at.decode(), pending, lag) for group, at, pending, lag in groups}
    return StreamReply(
        stream=name,
        exists=True,
        length=length,
        last=last.decode(),
        entries_added=added,
        first=first.decode() if first else "",
        groups=by_name,
    )
