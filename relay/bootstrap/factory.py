"""Make a reconciler for the Linq account and the Redis of the settings."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from relay.bootstrap.desired import public_url_of
from relay.bootstrap.looks import Looks
from relay.bootstrap.reconciling.v3 import Reconciler
from relay.config.linq_accounts import accounts_of, key_and_rules
from relay.core.errors import LinqApiError
from relay.core.event import Dialect, source_name
from relay.linq.api.v3 import open_linq
from relay.parts import open_keyring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v3 import LinqApi
    from relay.store.driver.client import Redis
    from relay.store.keyring.keyring import Keyring


@asynccontextmanager
async def open_accounts(
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    clock: Callable[[], float] = time.time,
    only: str | None = None,
) -> AsyncIterator[list[Account]]:
    """Open every account at Linq's v3 API, or the `only` one.

    Raises:
        SettingsError: a key is missing, or Linq would not post to the public URL.
        LinqApiError: Linq failed, or a line is in two accounts.
    """
    async with AsyncExitStack() as stack:
        opening = [open_account(settings, redis, config, clock, name) for name in accounts_of(settings, config)]
        accounts = [await stack.enter_async_context(account) for account in opening]
        if len(accounts) > 1:
            check_lines([(account.name, await account.reconciler.lines()) for account in accounts])
        yield [account for account in accounts if only in {None, account.name}]


def check_lines(accounts: Sequence[tuple[str | None, Collection[str]]]) -> None:
    """Check that no line is in two accounts.

    Raises:
        LinqApiError: one is: its events would come twice, and two secrets would prove the same line.
    """
    for (first, lines), (second, others) in combinations(accounts, 2):
        if both := sorted({*lines} & {*others}):
            of = [f"account {name}" if name else "the account of LINQ_API_V3_API_KEY" for name in (first, second)]
            raise LinqApiError(
                f"{', '.join(both)}: in {' and '.join(of)}; a line belongs to one account: exclude it in the other, in "
                "relay.toml"
            )


@dataclass(frozen=True, slots=True)
class Account:
    """A Linq account, and what this Redis knows of it."""

    name: str | None
    """Its name in `[[linq.accounts]]`; None for that of LINQ_API_V3_API_KEY."""
    api: LinqApi
    keyring: Keyring
    reconciler: Reconciler
    clock: Callable[[], float]
    """Unix seconds."""


@asynccontextmanager
async def open_reconciler(
    settings: Settings, redis: Redis, config: RelayConfig, clock: Callable[[], float] = time.time
) -> AsyncIterator[Reconciler]:
    """Open the reconciler of the account. Takes and raises as `open_account`."""
    async with open_account(settings, redis, config, clock) as account:
        yield account.reconciler


@asynccontextmanager
async def open_account(
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    clock: Callable[[], float] = time.time,
    name: str | None = None,
) -> AsyncIterator[Account]:
    """Open a Linq account: that of `[[linq.accounts]]` with this name, or that of LINQ_API_V3_API_KEY.

    `settings` must have what `needs_of` lists. `clock` returns Unix seconds.

    Raises:
        SettingsError: its key is missing, or Linq would not post to the public URL.
    """
    public_url = public_url_of(settings)
    key, config = key_and_rules(settings, config, name)
    async with open_linq(key, settings.linq_api_v3_base_url) as api:
        looks, keyring = Looks(redis, source_name(Dialect.V3, name), clock), open_keyring(settings, redis, name)
        yield Account(name, api, keyring, Reconciler(api, keyring, looks, config, public_url, clock), clock)
