"""The rules in force, for those who only look: relay.toml, read again when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config.file import read_config
from relay.config.rules_file import RulesFile

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis


class Rules:
    """The rules in force."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._path = settings.relay_config
        self._file = RulesFile(settings.relay_config)
        self._redis = redis

    async def current(self) -> RelayConfig:
        """Return the rules; the last valid ones while the file has mistakes.

        Raises:
            ConfigError: there never were valid ones.
        """
        return self._file.current() or read_config(self._path)
