"""A look at the logs of many lanes, for retention: most have nothing that is too old, and need no trimming.

Of 20,000 lanes that have an attempt each, a look takes 0.1 s of CPU and 0.3 s of Redis; to trim each by itself takes
10 s and 3 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis

_PAGE = 200  # lanes in one script, which blocks Redis for about 3 ms
_WRONG_TYPE = -2

_look = Script(__package__, "look_at_logs")


class LettersLook(NamedTuple):
    """The dead letters of a lane."""

    number: int = 0
    oldest_ms: int = -1
    """Unix milliseconds, as the next; -1 if there is none."""
    newest_ms: int = -1


class LogsLook(NamedTuple):
    """The attempts, with their answers, and the dead letters of a lane."""

    oldest_attempt_ms: int = -1
    """Unix milliseconds; -1 if there is none."""
    letters: LettersLook = LettersLook()
    has_wrong_type: bool = False
    """True if nothing else is known of it, since one of its keys was overwritten."""


async def look_at_logs(redis: Redis, names: Sequence[str]) -> dict[str, LogsLook]:
    """Return the lanes that have attempts or dead letters, by name."""
    found: dict[str, LogsLook] = {}
    for page in pages(names, _PAGE):
        reply: Any = await _look(redis, [redis.key.lane(name) for name in page], [])
        for number, oldest_ms, *letters in zip(*(iter(reply),) * 5, strict=True):
            is_wrong = oldest_ms == _WRONG_TYPE
            found[page[number - 1]] = LogsLook(oldest_ms, LettersLook(*letters), is_wrong)
    return found
