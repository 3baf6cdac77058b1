"""The composition root of several processes: the client of Redis and the keyring, opened from the settings."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.rules.cipher import cipher_of
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.keyring.keyring import Keyring
from relay.store.keyring.v2_secret_marker import V2SecretMarker
from relay.store.sharding.number import require_known_number
from relay.store.sharding.shards import open_shards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from relay.store.keyring.encryption import Cipher


@asynccontextmanager
async def open_store(settings: Settings, timeout: float = WORKER_TIMEOUT) -> AsyncIterator[Redis]:
    """Open a client of the Redis of `settings`, which must have a URL; `timeout` is seconds for one round trip.

    With several shards it is that of the first one, and knows the others.
    """
    url, prefix = str(settings.redis_url), settings.relay_key_prefix
    async with open_shards(url, timeout, prefix, settings.relay_shards) as shards:
        yield shards.home


@asynccontextmanager
async def open_events(settings: Settings) -> AsyncIterator[Redis]:
    """Open the store for a command that reads or writes events; otherwise like `open_store`.

    Raises:
        SettingsError: RELAY_SHARDS is not the relay's number of shards.
    """
    async with open_store(settings) as redis:
        await require_known_number(redis)
        yield redis


def open_keyring(settings: Settings, redis: Redis, account: str | None = None) -> Keyring:
    """Open the keyring that is encrypted with RELAY_SECRET_KEY, which `settings` must have.

    `account` of `[[linq.accounts]]` is that of the secrets that will be stored.
    """
    return Keyring(redis, _cipher(settings), account)


def open_v2_secret_marker(settings: Settings, redis: Redis) -> V2SecretMarker:
    """Open the marker of the v2 secret, encrypted with RELAY_SECRET_KEY, which `settings` must have."""
    return V2SecretMarker(redis, _cipher(settings))


def _cipher(settings: Settings) -> Cipher:
    cipher = cipher_of(settings)
    assert cipher is not None  # noqa: S101  the command requires the key
    return cipher
