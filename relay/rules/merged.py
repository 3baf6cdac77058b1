"""The rules in force for a worker: relay.toml and the subscriptions made by the API, followed without a restart.

    relay.toml changed            read again (`relay.config.file`)
    the revision changed          the stored records are read again: one small GET a second otherwise
    a signing secret has ended    the rules are merged again without it

While Redis cannot be read, the last records count. So do they if Redis has lost them all at once, which no deletion
does: a deleted subscription leaves a record, or at least a revision.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

import structlog

from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS
from relay.rules.checks import StoredChecks
from relay.rules.merge import View, merged, opened_view
from relay.rules.sources import StoredSources
from relay.rules.stored_log import StoredLog
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers
from relay.store.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import ConfigFile, Loaded
    from relay.store.driver.client import Redis
    from relay.store.keyring.encryption import Cipher

_LOST = (
    "Redis has lost the subscriptions made by the API; this worker keeps them until it ends: restore Redis from a "
    "backup, or create them again"
)

log = structlog.get_logger()


class MergedRules:
    """The rules in force. As a context manager, it follows both sources while the context is open."""

    def __init__(
        self,
        file: ConfigFile,
        redis: Redis,
        cipher: Cipher | None,
        poll_interval: float = DEFAULTS.config_poll,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`cipher` decrypts what is stored; `clock` gives Unix seconds."""
        self._file = file
        self._redis = redis
        self._stored = StoredSources(redis)
        self._checks = StoredChecks()
        self._cipher = cipher
        self._poll_interval = poll_interval
        self._clock = clock
        self._isolation = Isolation(redis)
        self._log = StoredLog()
        self._loaded = self._merged_file = file.current
        self._view = View(file.current.config, file.current.config)
        self._ends_ms: int | None = None
        self._version = 0  # of the stored part in it
        self.on_change: list[Callable[[], None]] = []
        """Called in the event loop as soon as other rules are in force."""
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name="rules")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    @property
    def current(self) -> Loaded:
        """The rules of this moment."""
        return self._loaded

    @property
    def is_refused(self) -> bool:
        """True if the last change of relay.toml was refused."""
        return self._file.is_refused

    def report(self) -> dict[str, Any]:
        """Return which version of the file is in force, and which stored subscriptions are, for operators."""
        view = self._view
        stored = sum(not record.deleted for record in view.stored.values())
        return self._file.report() | {
            "stored": {"subscriptions": stored, "unusable": view.unusable, "shadowed": sorted(view.shadowed)}
        }

    async def read(self) -> None:
        """Read the stored subscriptions for the first time, however long Redis takes."""
        await retry_until_redis_answers("reading stored subscriptions", self._update)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_interval)
            await self._file.follow()
            try:
                await self._merge_if_due()  # whatever Redis does
                await self._update()
            except REDIS_ERRORS:  # the other parts of the worker report it
                pass
            except Exception:  # any error: the rules must be followed further
                log.exception("config.error", file="stored subscriptions")

    async def _update(self) -> None:
        """Read what is stored, and merge it if anything has changed."""
        async with self._reading:
            key, were_lost = self._redis.key, self._stored.are_lost
            types = {key.subscriptions: "hash", key.subscriptions_revision: "string"}
            await self._isolation.contain("subscriptions", key.subscriptions, self._stored.read(), types)
            if self._stored.are_lost and not were_lost:
                log.error("subscriptions.lost", key=key.subscriptions, kept=len(self._stored.rows), note=_LOST)
            await self._merge()

    async def _merge_if_due(self) -> None:
        async with self._reading:
            await self._merge()

    async def _merge(self) -> None:
        now_ms = round(self._clock() * 1000)
        loaded, version = self._file.current, self._stored.version
        is_due = version != self._version
        has_ended = self._ends_ms is not None and self._ends_ms <= now_ms
        if not (is_due or has_ended or loaded is not self._merged_file):
            return
        view, endpoints = await opened_view(loaded.config, self._stored, self._cipher, now_ms, self._checks)
        self._merged_file, self._view, self._ends_ms = loaded, view, view.next_end(now_ms)
        self._version = version
        self._loaded = merged(loaded, view, endpoints) if endpoints else loaded
        for follow in self.on_change:
            follow()
        self._log.note(view)
        if is_due and self._stored.rows:
            log.info("subscriptions.read", stored=len(endpoints), unusable=len(view.unusable))
