"""The composition root: what a process is made of, built once from its settings and closed in reverse."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.errors import Problem, SettingsError
from relay.core.known_secret import KnownSecret
from relay.core.secret import SigningSecret
from relay.store.acceptor import Acceptor
from relay.store.aside import Aside
from relay.store.connect import REQUEST_PATIENCE, WORKER_PATIENCE, open_redis
from relay.store.embedded import running
from relay.store.key_cache import KeyCache
from relay.store.keyring import Keyring
from relay.store.seal import Seal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from relay.settings import Settings


@dataclass(frozen=True, slots=True)
class IngressParts:
    """What the ingress is made of."""

    redis: Redis
    acceptor: Acceptor
    aside: Aside
    keys: KeyCache
    clock: Callable[[], float]
    """Unix seconds."""


def redis_url(settings: Settings) -> str:
    """REDIS_URL, or else where the embedded Redis of this data directory is.

    Raises:
        SettingsError: neither is there.
    """
    if settings.redis_url is not None:
        return settings.redis_url
    embedded = running(settings.relay_data_dir)
    if embedded is None:
        missing = f"not set, and no embedded Redis runs on {settings.relay_data_dir} (relay up starts one)"
        raise SettingsError("The environment is not complete:", (Problem("REDIS_URL", missing),))
    return embedded.url


@asynccontextmanager
async def open_store(settings: Settings, patience: float = WORKER_PATIENCE) -> AsyncIterator[Redis]:
    """A Redis client for as long as the context is open."""
    redis = open_redis(redis_url(settings), patience)
    try:
        yield redis
    finally:
        await redis.aclose()


def open_keyring(settings: Settings, redis: Redis) -> Keyring:
    """The keyring under RELAY_SECRET_KEY, which `settings` must have."""
    assert settings.relay_secret_key is not None  # noqa: S101  the command asked for it
    return Keyring(redis, Seal(settings.relay_secret_key.get_secret_value()))


@asynccontextmanager
async def ingress_parts(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[IngressParts]:
    """The parts of an ingress process."""
    v2_secret = settings.linq_v2_webhook_secret
    fixed = [KnownSecret(None, 0, SigningSecret(v2_secret.get_secret_value()))] if v2_secret else []
    async with (
        open_store(settings, REQUEST_PATIENCE) as redis,
        Acceptor(redis, settings.relay_dedupe_window, clock) as acceptor,
        KeyCache(open_keyring(settings, redis), fixed) as keys,
    ):
        yield IngressParts(redis=redis, acceptor=acceptor, aside=Aside(redis), keys=keys, clock=clock)
