"""A look at many lanes: which of them have work, and which must be looked at by themselves.

A lane is at rest if all its deliveries are settled: most of many are, and the reply does not mention them. One that is
not as its counters say, has a key of a wrong type, has unread replays, or once read another topic, is special: it is
looked at, and repaired, by itself (`Lane.ensure`, `lanes.audit`). Of the others, the positions are saved on request
(`lanes.position`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store import keys
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis

_PAGE = 100  # lanes in one script, which blocks Redis for about 3 ms
_MAX_EXAMINED = 1000  # pending entries of a lane

_look = Script("relay.store.lanes", "look_at_lanes")


class LanePlace(NamedTuple):
    """A lane, and the stream that it reads."""

    name: str
    stream: str


class LaneLook(NamedTuple):
    """The deliveries of a lane that is not at rest."""

    is_special: bool
    """True if nothing else is known of it: it must be looked at by itself."""
    unread: int
    """Events of its topic."""
    pending: int
    """Deliveries that were read and are not settled."""
    retrying: int
    """Pending deliveries that wait for a retry."""
    next_due: int | None
    """Due time of the next retry, Unix milliseconds."""

    @property
    def in_hand(self) -> int:
        """The number of deliveries that are in flight, or orphans."""
        return self.pending - self.retrying


async def look_at_lanes(redis: Redis, places: Iterable[LanePlace], *, saves: bool = False) -> dict[str, LaneLook]:
    """Return the lanes that are not at rest, by name; with `saves`, the positions of all that are right are saved."""
    found: dict[str, LaneLook] = {}
    by_stream = sorted(places, key=lambda place: place.stream)  # a stream is read once for all lanes of a page
    for page in pages(by_stream, _PAGE):
        arguments: list[str | int] = [_MAX_EXAMINED if saves else 0]
        for name, stream in page:
            arguments += (redis.key.lane(name), keys.push_group(name), stream)
        reply: Any = await _look(redis, [redis.key.counts], arguments)
        for number, unread, pending, retrying, due in zip(*(iter(reply),) * 5, strict=True):
            look = LaneLook(unread < 0, max(unread, 0), pending, retrying, None if due < 0 else due)
            found[page[number - 1].name] = look
    return found
