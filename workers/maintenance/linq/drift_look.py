"""A look of the drift check (`drift_check`): it compares our subscriptions at Linq with relay.toml.

Subscriptions change without the relay: an operator deletes one, Linq deactivates one, a line is added or removed.
Drift is logged and counted, and repaired if `heal` is on in relay.toml; a deletion needs several checks that agree
(`bootstrap.deletions`). A rotation of secrets that an operator began is completed in either case. A failure of one of
Linq's APIs does not stop the check of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog

from relay.bootstrap.deletions import Approval
from relay.bootstrap.factory import open_accounts
from relay.bootstrap.needs import needs_of
from relay.bootstrap.reconciling.v2 import open_v2_reconciler
from relay.bootstrap.status import differences
from relay.bootstrap.survey import in_one
from relay.core.errors import RelayError
from relay.core.event import Dialect, source_name
from relay.store.driver.client import REDIS_ERRORS, ask, describe
from relay.store.keyring.last_seen import last_events
from relay.store.lines.linq_facts import record_list

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from relay.bootstrap.factory import Account
    from relay.bootstrap.status import Surveyed
    from relay.bootstrap.survey import Survey
    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

log = structlog.get_logger()


Found = TypeVar("Found")


class Told(NamedTuple):
    """The result of a look that events of Linq's have caused."""

    survey: Survey | None
    """Linq's state; None if it could not be read."""
    failed: frozenset[str | None]
    """The lines whose repair failed; None is the account."""


class DriftLook:
    """A look at our subscriptions at Linq."""

    def __init__(self, redis: Redis, rules: RulesInForce, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._settings = settings
        self._clock = clock

    async def check(self) -> None:
        """Compare, log, count, and repair if allowed. Errors are logged; the next check retries."""
        config = self._rules.current.config
        if self._settings.linq_api_v3_api_key is not None or config.linq.accounts:
            await self._check_api("v3", self._check_v3(config))
        if config.linq.v2 is not None:
            await self._check_api("v2", self._check_v2(config))

    async def check_told(self, released: Collection[str]) -> Told:
        """Check the v3 API after events of Linq's, by which it has `released` lines; as `check`, errors are logged."""
        told = await self._check_api("v3", self._check_v3_told(self._rules.current.config, released))
        return told or Told(None, frozenset())

    async def _check_api(self, api: str, check: Awaitable[Found]) -> Found | None:
        try:
            return await check
        except (RelayError, *REDIS_ERRORS) as error:
            log.error("bootstrap.check_failed", api=api, error=describe(error))  # noqa: TRY400  expected: no traceback
            return None

    async def _check_v3(self, config: RelayConfig) -> None:
        self._settings.require(*needs_of(config), because="every line has a subscription at Linq's v3 API")
        async with open_accounts(self._settings, self._redis, config, self._clock) as accounts:
            for account in accounts:
                api = source_name(Dialect.V3, account.name)
                await self._check_api(api, self._check_account(api, account, config))

    async def _check_account(self, api: str, account: Account, config: RelayConfig) -> None:
        reconciler = account.reconciler
        survey, now = await reconciler.survey(), self._clock()
        await record_list(self._redis, await reconciler.listed_lines(), round(now * 1000), account.name)
        await reconciler.look(survey)
        if await self._record_drift(api, survey, config, now):
            await reconciler.apply(lambda _: None, approval=Approval.SCHEDULED)
        elif any(step.ends_rotation for step in survey.plan(now)):
            await reconciler.apply(lambda _: None, only=lambda step: step.ends_rotation)

    async def _check_v3_told(self, config: RelayConfig, released: Collection[str]) -> Told:
        self._settings.require(*needs_of(config), because="every line has a subscription at Linq's v3 API")
        async with open_accounts(self._settings, self._redis, config, self._clock) as accounts:
            if len(accounts) == 1:
                return await self._check_account_told(accounts[0], config, released)
            told = [
                await self._check_api(
                    source_name(Dialect.V3, account.name), self._check_account_told(account, config, released)
                )
                for account in accounts
            ]
        surveys = [each.survey for each in told if each is not None and each.survey is not None]
        failed = frozenset(line for each in told if each is not None for line in each.failed)
        return Told(in_one(surveys) if len(surveys) == len(told) else None, failed)

    async def _check_account_told(self, account: Account, config: RelayConfig, released: Collection[str]) -> Told:
        reconciler = account.reconciler
        survey = await reconciler.survey()
        await reconciler.confirm(survey, released)
        drift = await self._record_drift(source_name(Dialect.V3, account.name), survey, config, self._clock())
        if not drift or survey.rivals:
            return Told(survey, frozenset())
        results = await reconciler.apply(lambda _: None, approval=Approval.TOLD)
        return Told(survey, frozenset(result.step.line for result in results if result.error))

    async def _check_v2(self, config: RelayConfig) -> None:
        async with open_v2_reconciler(self._settings, self._redis, config, self._clock) as reconciler:
            survey = await reconciler.survey()
            await reconciler.look(survey)
            if await self._record_drift("v2", survey, config, self._clock()):
                await reconciler.apply(lambda _: None, approval=Approval.SCHEDULED)

    async def _record_drift(self, api: str, survey: Surveyed, config: RelayConfig, now: float) -> bool:
        """Log and store the differences. Returns True if they must be repaired."""
        found = differences(survey, await last_events(self._redis), now, config.linq.silent_after)
        row = {f"{api}:{kind}": count for kind, count in found.items()}
        await ask(self._redis.hset(self._redis.key.drift, mapping={**row, f"{api}:at": round(now)}))
        repairable = sum(found.values()) - found["silent"] - found["malformed"] - found["foreign"]
        write = log.warning if repairable or found["silent"] or found["malformed"] else log.info
        write("bootstrap.checked", api=api, **found, heal=config.linq.heal)
        return bool(repairable) and config.linq.heal
