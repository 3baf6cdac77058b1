"""Refused requests: a log line for each second and cause, and a count of each cause in Redis.

    record    adds a refusal to its cause; a flood costs a counter each, not a line each
    a second after the first of a cause: one line with their number, an example and up to five lines concerned
    the counts are added to Redis after that; while it is away they are kept, and each second is another try

Nothing that a sender chooses makes a cause, so the number of causes is bounded, and with it what is logged.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import structlog

from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS, ask

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_MAX_LINES = 5  # of one log line
_MAX_CAUSES = 64  # a second; there are fewer
_MAX_TEXT = 120  # characters of what a sender wrote

log = structlog.get_logger()


@dataclass(slots=True)
class _Group:
    example: dict[str, Any]
    count: int = 0
    final: int = 0
    limited: int = 0
    lines: dict[str, None] = field(default_factory=dict)


class Refusals:
    """The refusals of a process. Enter it as a context, in which they are logged and counted."""

    def __init__(self, redis: Redis, interval: float) -> None:
        """`interval` is the seconds that one log line covers."""
        self._redis = redis
        self._interval = interval
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._uncounted: Counter[str] = Counter()
        self._recorded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._flush_forever(), name="refusals")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        self._log()
        with suppress(*REDIS_ERRORS):
            await self._count()

    def record(
        self,
        code: str,
        *,
        cause: str = "",
        event: str = "event.refused",
        line: str | None = None,
        final: bool = False,
        limited: bool = False,
        **example: object,
    ) -> None:
        """Record a refusal of the kind `code`; `cause`, in words of our own, distinguishes causes of one kind.

        `final` marks one that Linq does not send again, `limited` one beyond the sender's budget. `example` is logged
        of the first only.
        """
        key = (event, code, cause)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MAX_CAUSES:
                key = ("event.refused", "other", "")
            group = self._groups.setdefault(key, _Group({name: _shown(value) for name, value in example.items()}))
            self._recorded.set()
        group.count += 1
        group.final += final
        group.limited += limited
        if line is not None and len(group.lines) < _MAX_LINES:
            group.lines[line] = None

    async def _flush_forever(self) -> None:
        while True:
            await self._recorded.wait()
            await asyncio.sleep(self._interval)
            self._recorded.clear()
            self._log()
            try:
                await self._count()
            except REDIS_ERRORS:
                self._recorded.set()  # try again after the interval, also if there are no more refusals

    def _log(self) -> None:
        groups, self._groups = self._groups, {}
        for (event, code, _), group in groups.items():
            lines = list(group.lines)
            details: dict[str, Any] = {"line": lines[0] if lines else None}
            if len(lines) > 1:
                details["lines"] = lines
            if group.limited:
                details["limited"] = group.limited
            log.warning(event, code=code, count=group.count, final=group.final, **details, **group.example)
            self._uncounted[code] += group.count

    async def _count(self) -> None:
        counts, self._uncounted = self._uncounted, Counter()
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                for code, count in counts.items():
                    pipe.hincrby(self._redis.key.refused, code, count)
                await pipe.execute()
        except REDIS_ERRORS:
            self._uncounted += counts  # it may have been counted: a count too high is better than one too low
            raise


def _shown(value: object) -> object:
    """Return `value` for a log: a sender may have chosen it, so a text is short, and escaped unless it is plain."""
    return value[:_MAX_TEXT].encode("unicode_escape").decode() if isinstance(value, str) else value


async def refused_counts(redis: Redis) -> dict[str, int]:
    """Return the number of refused requests by kind."""
    rows = await ask(redis.hgetall(redis.key.refused))
    return {name.decode(): int(count) for name, count in sorted(rows.items())}
