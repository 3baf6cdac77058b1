"""A backfill after an outage (`backfiller`): the messages that the outage lost are put back.

By then Linq has delivered all that it still retried, so that these events stay live. The span begins half an hour
before the outage: events of that time were being retried when it began. A run that ends early is resumed by the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from relay.config.linq_accounts import accounts_of
from relay.core.errors import RelayError
from relay.gaps.run import Asked, NothingToCompare, open_gap_finder
from relay.store import audit
from relay.store.driver.client import describe
from relay.store.gaps.outages import SETTLED_AFTER, forget_outage
from relay.store.gaps.walk_record import Mode, WalkState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.gaps.run import GapFinder
    from relay.store.driver.client import Redis
    from relay.store.gaps.outages import Outage

log = structlog.get_logger()


class Filling:
    """The backfill of one outage."""

    def __init__(self, redis: Redis, settings: Settings, config: RelayConfig, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._settings = settings
        self._config = config
        self._clock = clock

    async def fill(self, outage: Outage) -> None:
        """Put back what the outage lost of every account, and forget it if all is done."""
        done = [await self._fill(account, outage) for account in accounts_of(self._settings, self._config)]
        if all(done):
            await forget_outage(self._redis)

    async def _fill(self, account: str | None, outage: Outage) -> bool:
        """Put back what the outage lost of an account; return False if it must be tried again."""
        told = {**outage._asdict(), **({} if account is None else {"account": account})}
        try:
            async with self._finder(account) as finder:
                await self._put_back(finder, outage, told)
        except NothingToCompare as error:
            log.warning("backfill.impossible", **told, error=str(error))
        except RelayError as error:
            log.error("backfill.failed", **told, error=describe(error))  # noqa: TRY400  expected
            return False
        return True

    def _finder(self, account: str | None) -> AbstractAsyncContextManager[GapFinder]:
        return open_gap_finder(self._settings, self._redis, self._config, self._clock, account=account)

    async def _put_back(self, finder: GapFinder, outage: Outage, told: Mapping[str, Any]) -> None:
        asked = Asked(Mode.FILL, outage.from_ms - round(SETTLED_AFTER * 1000), outage.to_ms + 1000)
        last = await finder.last()
        if last and (last.mode, last.state, last.until_ms) == (Mode.FILL, WalkState.DONE, asked.until_ms):
            return  # only another account is left
        found = await finder.unfinished(asked)
        if found is None:
            lines = f"all lines of account {finder.account}" if finder.account else "all lines"
            await audit.record(self._redis, "worker", "backfill", lines, why="[linq] backfill, after an outage")
        walk = await finder.run(found or await finder.new(asked), resume=found is not None)
        log.warning(
            "backfill.done",
            **told,
            messages=walk.messages,
            missing=walk.missing,
            put_back=walk.put,
            untaken=walk.untaken,
            calls=walk.calls,
        )
