"""The composition root: what a process is made of, built once from its settings and closed in reverse."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relay.config.settings import Settings, environment
from relay.core.errors import Problem, SettingsError
from relay.core.line_secret import V2_FORMER_SECRET, V2_SECRET, LineSecret
from relay.core.secret import SigningSecret
from relay.process.embedded_redis import running
from relay.store.driver.client import REQUEST_TIMEOUT, WORKER_TIMEOUT, open_redis
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.memory_guard import MemoryGuard
from relay.store.inbox.quarantine import Quarantine
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.key_cache import KeyCache
from relay.store.keyring.keyring import Keyring
from relay.store.keyring.last_seen import LastSeen
from relay.store.keyring.v2_secret_marker import V2SecretMarker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class IngressParts:
    """What the ingress is made of."""

    redis: Redis
    acceptor: Acceptor
    quarantine: Quarantine
    keys: KeyCache
    last_seen: LastSeen
    memory: MemoryGuard
    clock: Callable[[], float]
    """Unix seconds."""


def load_settings(*needs: str) -> Settings:
    """The settings, with a Redis to work with: REDIS_URL, or else the embedded one that runs on the data directory.

    Raises:
        SettingsError: naming every variable that is wrong or missing, REDIS_URL among them.
    """
    given = environment()
    data_dir = Path(given.get("RELAY_DATA_DIR", Settings.model_fields["relay_data_dir"].default))
    embedded = None if "REDIS_URL" in given else running(data_dir)
    problems: tuple[Problem, ...] = ()
    if "REDIS_URL" not in given and embedded is None:
        problems = (Problem("REDIS_URL", f"not set, and no embedded Redis runs on {data_dir} (relay up starts one)"),)
    try:
        settings = Settings.load(*needs)
    except SettingsError as error:
        raise SettingsError(error.heading, (*problems, *error.problems)) from None
    if problems:
        raise SettingsError("The environment is not complete:", problems)
    return settings if embedded is None else settings.model_copy(update={"redis_url": embedded.url})


@asynccontextmanager
async def open_store(settings: Settings, patience: float = WORKER_TIMEOUT) -> AsyncIterator[Redis]:
    """A client of the Redis of `settings`, which must have one, for as long as the context is open."""
    redis = open_redis(str(settings.redis_url), patience)
    try:
        yield redis
    finally:
        await redis.aclose()


def open_keyring(settings: Settings, redis: Redis) -> Keyring:
    """The keyring under RELAY_SECRET_KEY, which `settings` must have."""
    return Keyring(redis, _cipher(settings))


def open_v2_secret_marker(settings: Settings, redis: Redis) -> V2SecretMarker:
    """The note of the v2 secret, under RELAY_SECRET_KEY, which `settings` must have."""
    return V2SecretMarker(redis, _cipher(settings))


def _cipher(settings: Settings) -> Cipher:
    assert settings.relay_secret_key is not None  # noqa: S101  the command asked for it
    old = settings.relay_secret_key_old
    old_keys = old.get_secret_value().split(",") if old else ()
    return Cipher(settings.relay_secret_key.get_secret_value(), *old_keys)


def _v2_secrets(settings: Settings) -> list[LineSecret]:
    found = {
        V2_SECRET: settings.linq_v2_webhook_secret,
        V2_FORMER_SECRET: settings.linq_v2_webhook_secret_old,
    }
    return [
        LineSecret(None, generation, SigningSecret(secret.get_secret_value()))
        for generation, secret in found.items()
        if secret is not None
    ]


@asynccontextmanager
async def ingress_parts(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[IngressParts]:
    """The parts of an ingress process."""
    async with (
        open_store(settings, REQUEST_TIMEOUT) as redis,
        Acceptor(redis, settings.relay_dedupe_window, clock, settings.relay_replicas) as acceptor,
        KeyCache(open_keyring(settings, redis), _v2_secrets(settings)) as keys,
        LastSeen(redis) as heard,
        MemoryGuard(redis, settings.relay_memory_high_water) as memory,
    ):
        quarantine = Quarantine(redis, settings.relay_replicas)
        yield IngressParts(redis, acceptor, quarantine, keys, heard, memory, clock)
