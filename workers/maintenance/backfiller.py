"""The backfill after an outage, if `backfill` is on in `[linq]`: half an hour after its end, messages are put back.

By then Linq has delivered all that it still retried, so that these events stay live. The span begins half an hour
before the outage: events of that time were being retried when it began. A run that ends early is resumed by the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from relay.config.linq_accounts import accounts_of
from relay.core.errors import RelayError
from relay.gaps.run import SETTLED_AFTER, Asked, NothingToCompare, open_gap_finder
from relay.store import audit
from relay.store.driver.client import describe
from relay.store.gaps.outages import forget_outage, pending_outage
from relay.store.gaps.walk_record import Mode, WalkState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.gaps.run import GapFinder
    from relay.store.driver.client import Redis
    from relay.store.gaps.outages import Outage

LEASE = "backfill"

log = structlog.get_logger()


class Backfiller:
    """The backfill of the worker processes."""

    def __init__(self, redis: Redis, rules: RulesInForce, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._settings = settings
        self._clock = clock

    @property
    def is_possible(self) -> bool:
        """True if the settings have all that it needs."""
        return self._settings.linq_api_v3_api_key is not None or bool(self._rules.current.config.linq.accounts)

    async def check(self) -> None:
        """Put back what the last outage lost, once Linq has given up on it; the next check retries what failed."""
        config = self._rules.current.config
        if not config.linq.backfill:
            return
        outage = await pending_outage(self._redis)
        if outage is None or self._clock() * 1000 < outage.to_ms + SETTLED_AFTER * 1000:
            return
        done = [await self._fill(account, outage, config) for account in accounts_of(self._settings, config)]
        if all(done):
            await forget_outage(self._redis)

    async def _fill(self, account: str | None, outage: Outage, config: RelayConfig) -> bool:
        """Put back what the outage lost of an account; return False if it must be tried again."""
        told = {**outage._asdict(), **({} if account is None else {"account": account})}
        try:
            async with open_gap_finder(self._settings, self._redis, config, self._clock, account=account) as finder:
                await self._put_back(finder, outage, told)
        except NothingToCompare as error:
            log.warning("backfill.impossible", **told, error=str(error))
        except RelayError as error:
            log.error("backfill.failed", **told, error=describe(error))  # noqa: TRY400  expected
            return False
        return True

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
