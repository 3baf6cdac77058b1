"""The number of shards, which Redis keeps from the first start.

A process with another number would look for the events of a chat, and for repeats of them, on the wrong shard. So it
refuses to start; and so does a command that reads or writes events (`require_known_number`).

A process that starts while Redis is away checks the number as soon as Redis answers (`NumberOfShards`). Until then an
ingress accepts nothing.

While the relay grows (`growth.state`), processes with the number that it is to have may start before it has it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.errors import Problem, SettingsError
from relay.process.tasks import in_background
from relay.store.driver.client import REDIS_ERRORS, ask, retry_until_redis_answers
from relay.store.driver.scripts import Script
from relay.store.sharding.growth.state import is_noted_target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.store.driver.client import Redis

_MAX_PAUSE = 0.1  # seconds: webhooks wait for it
_UNKNOWN = "the number of shards has not been read yet"

_number = Script(__package__, "number")

log = structlog.get_logger()


class NumberOfShards:
    """The check of the number of shards in a process that starts also while Redis is away."""

    def __init__(self, home: Redis) -> None:
        self._home = home
        self._error: SettingsError | None = None
        self.refusal: str | None = None
        """Reason why events are refused now; None if they are accepted."""

    @asynccontextmanager
    async def checked(self, on_wrong: Callable[[], object]) -> AsyncIterator[None]:
        """Check the number at once, else as soon as Redis answers, while the context is open.

        If it is found wrong only then, `on_wrong` is called, and the error is raised when the context ends.

        Raises:
            SettingsError: the process has another number than the relay.
        """
        try:
            await require_number_of_shards(self._home)
        except REDIS_ERRORS:
            self.refusal = _UNKNOWN
        else:
            yield
            return
        async with in_background(self._check(on_wrong)):
            yield
        if self._error is not None:
            raise self._error

    async def _check(self, on_wrong: Callable[[], object]) -> None:
        try:
            reading = partial(require_number_of_shards, self._home)
            await retry_until_redis_answers("reading the number of shards", reading, max_pause=_MAX_PAUSE)
        except SettingsError as error:
            self._error, self.refusal = error, str(error)
            log.error("shards.wrong_number", error=str(error))  # noqa: TRY400  expected
            on_wrong()
        else:
            self.refusal = None


async def require_number_of_shards(home: Redis) -> None:
    """Check that the process, which has a client of each shard, has as many as the relay.

    Raises:
        SettingsError: it has another number.
    """
    given = len(home.shards)
    stored = (await _number(home, [home.key.shards, home.key.counts], [given])).decode()
    await _require(home, stored)


async def require_known_number(home: Redis) -> None:
    """Check the number for a command, which stores nothing: before the first start of the relay there is none.

    Raises:
        SettingsError: the command has another number than the relay.
    """
    if (stored := await ask(home.get(home.key.shards))) is not None:
        await _require(home, stored.decode(errors="replace"))


async def _require(home: Redis, stored: str) -> None:
    given = len(home.shards)
    if stored != str(given) and not await is_noted_target(home, given):
        why = f"it is {given}, but the relay has {stored}: set {stored}; to change the number, see relay shards"
        raise SettingsError("The number of shards is wrong:", (Problem("RELAY_SHARDS", why),))
