"""Make a reconciler for the Linq account and the Redis of the settings."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.bootstrap.desired import public_url_of
from relay.bootstrap.looks import Looks
from relay.bootstrap.reconcile import Reconciler
from relay.linq.api.v3 import open_linq
from relay.parts import open_keyring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v3 import LinqApi
    from relay.store.driver.client import Redis
    from relay.store.keyring.keyring import Keyring

NEEDS = ("relay_public_url", "relay_secret_key", "linq_api_v3_api_key")
"""The settings that every call to Linq's v3 API needs."""


@dataclass(frozen=True, slots=True)
class Account:
    """A Linq account, and what this Redis knows of it."""

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
    settings: Settings, redis: Redis, config: RelayConfig, clock: Callable[[], float] = time.time
) -> AsyncIterator[Account]:
    """Open the Linq account; `settings` must have what `NEEDS` lists. `clock` returns Unix seconds.

    Raises:
        SettingsError: Linq would not post to the public URL.
    """
    public_url = public_url_of(settings)
    assert settings.linq_api_v3_api_key is not None  # noqa: S101  it is needed
    key = settings.linq_api_v3_api_key.get_secret_value()
    async with open_linq(key, settings.linq_api_v3_base_url) as api:
        looks, keyring = Looks(redis, "v3", clock), open_keyring(settings, redis)
        yield Account(api, keyring, Reconciler(api, keyring, looks, config, public_url, clock), clock)
