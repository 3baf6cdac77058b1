"""The names of the subscriptions in force, for code that cannot wait for Redis: read every few seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from relay.core.errors import RelayError
from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.rules.current import Rules

_INTERVAL = 5.0  # seconds


class SubscriptionNames:
    """The names as they were read last. Enter it as a context, in which they are read."""

    def __init__(self, rules: Rules, interval: float = _INTERVAL) -> None:
        """`interval` is the time from one read to the next, seconds."""
        self._rules = rules
        self._interval = interval
        self._names: Collection[str] | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read_forever(), name="subscription names")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    def current(self) -> Collection[str] | None:
        """Return the names; None if they were never read."""
        return self._names

    async def _read_forever(self) -> None:
        while True:
            try:
                view = await self._rules.view()
            except (RelayError, *REDIS_ERRORS):  # others report both; the last names count
                pass
            else:
                self._names = view.config.subscription_names | view.unusable.keys()
            await asyncio.sleep(self._interval)
