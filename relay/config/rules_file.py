"""relay.toml for processes that do not deliver: read again when it changes, without the secrets that it refers to."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from relay.config.file import read_config
from relay.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from relay.core.config.relay_toml import RelayConfig


class RulesFile:
    """The rules in the file at `path`; the last valid ones while it has mistakes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rules: RelayConfig | None = None
        self._seen: object = None

    def current(self) -> RelayConfig | None:
        """Return the rules; None if there never were valid ones."""
        try:
            state = self._path.stat()
        except OSError:
            return self._rules
        seen = (state.st_mtime_ns, state.st_size, state.st_ino)
        if seen != self._seen:
            self._seen = seen
            with suppress(ConfigError):  # `relay check`, ingress and workers report it
                self._rules = read_config(self._path)
        return self._rules
