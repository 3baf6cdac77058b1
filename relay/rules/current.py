"""The rules in force, without secrets, for code that only reads: relay.toml and the subscriptions made by the API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.config.file import read_config
from relay.config.rules_file import RulesFile
from relay.core.errors import ConfigError
from relay.rules.checks import StoredChecks
from relay.rules.cipher import cipher_of
from relay.rules.merge import View, view_of
from relay.rules.sources import StoredSources
from relay.store.driver.client import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis


class Rules:
    """The rules in force."""

    def __init__(self, settings: Settings, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self._path = settings.relay_config
        self._file = RulesFile(settings.relay_config)
        self._stored = StoredSources(redis)
        self._checks = StoredChecks()
        self._cipher = cipher_of(settings)
        self._clock = clock
        self._view: View | None = None
        self._version = 0  # of the stored part in it
        self._ends_ms: int | None = None

    async def current(self) -> RelayConfig:
        """Return the rules; the last valid ones while the file has mistakes or Redis cannot be read.

        Raises:
            ConfigError: there never were valid ones.
        """
        return (await self.view()).config

    def of_file(self) -> RelayConfig:
        """Return the rules of relay.toml alone, which cost no round trip.

        Raises:
            ConfigError: there never were valid ones.
        """
        return self._file.current() or read_config(self._path)

    async def known(self) -> RelayConfig | None:
        """Return the rules; None if there never were valid ones that could be read."""
        try:
            return await self.current()
        except (ConfigError, *REDIS_ERRORS):  # `relay check`, ingress and workers report it
            return None

    async def view(self) -> View:
        """Return the rules and their sources, at the cost of one small read if nothing has changed.

        Raises:
            ConfigError: there never were valid ones.
        """
        file = self.of_file()
        await self._read()
        now_ms = round(self._clock() * 1000)
        has_ended = self._ends_ms is not None and self._ends_ms <= now_ms
        view = self._view
        if view is None or view.file is not file or self._version != self._stored.version or has_ended:
            view = view_of(file, self._stored, self._cipher, now_ms, self._checks)
            self._view, self._ends_ms, self._version = view, view.next_end(now_ms), self._stored.version
        return view

    async def _read(self) -> None:
        """Read what is stored; if that fails, the last view counts."""
        try:
            await self._stored.read()
        except REDIS_ERRORS:
            if self._view is None:
                raise
