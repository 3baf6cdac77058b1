"""relay.toml as a file: read with what it refers to, and read again when it changes.

A change that is good replaces the rules at once, without a restart; one that is not is refused with every mistake in
the log, and the old rules stay. Files that it refers to count as part of it, so a rotated secret is picked up too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog

from relay.config.secret_lookup import endpoints_of, files_in, look_up
from relay.core.config.relay_toml import RelayConfig, parse_config
from relay.core.config.toml_positions import TomlPositions
from relay.core.errors import ConfigError, Problem
from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relay.core.config.endpoint import Endpoint

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loaded:
    """One version of relay.toml, with what it refers to."""

    config: RelayConfig
    endpoints: Mapping[str, Endpoint]
    """By subscription."""


def read_config(path: Path) -> RelayConfig:
    """The rules in the file at `path`, without looking for secrets.

    Raises:
        ConfigError: the file is not there or has mistakes; all of them.
    """
    return parse_config(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except FileNotFoundError:
        raise ConfigError(
            "There are no rules:",
            (Problem(str(path), "no such file; RELAY_CONFIG says where it is, the README what stands in it"),),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("The rules cannot be read:", (Problem(str(path), str(error)),)) from None


def load_config(path: Path) -> Loaded:
    """The rules in the file at `path`, and the endpoint of every subscription.

    Raises:
        ConfigError: the file is not there or has mistakes, or what it refers to is missing; all of them.
    """
    return _load(_read(path), path)


def _load(text: str, path: Path) -> Loaded:
    found, missing = look_up(text, path)
    try:
        config = parse_config(text, str(path))
    except ConfigError as error:
        told = {problem.place for problem in error.problems}
        further = [problem for problem in missing if problem.place not in told]
        problems = sorted((*error.problems, *further), key=lambda problem: TomlPositions.order(problem.place))
        raise ConfigError(error.heading, tuple(problems)) from None
    if missing:
        raise ConfigError("What subscriptions refer to is missing or cannot be used:", tuple(missing))
    return Loaded(config, endpoints_of(config, found))


class ConfigFile:
    """The rules in force. Enter it as a context: the file is watched until it is left."""

    def __init__(self, path: Path, poll_interval: float = DEFAULTS.config_poll) -> None:
        """Read the file; it is checked for changes every `poll_interval` seconds.

        Raises:
            ConfigError: as `load_config`.
        """
        self._path = path
        self._poll_interval = poll_interval
        self._files = [path]
        self.current = self._load()
        self._seen = self._signature()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="config file")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_interval)
            before = self._signature()
            if before == self._seen:
                continue
            try:
                self.reload()
            except Exception:  # whatever it is, the file has to be looked at again when it changes again
                log.exception("config.error", file=str(self._path))
            # A file that was written while we read it differs from its state before, and is read again.
            after = self._signature()
            self._seen = {file: before.get(file, after[file]) for file in after}

    def reload(self) -> None:
        """Read the file again. A broken file is logged and refused; the former rules stay in force."""
        try:
            loaded = self._load()
        except ConfigError as error:
            log.error(  # noqa: TRY400  sentences for a person, not a bug
                "config.refused",
                file=str(self._path),
                problems=[str(problem) for problem in error.problems],
                note="the rules in force stay as they were",
            )
            return
        self.current = loaded
        log.info(
            "config.reloaded",
            file=str(self._path),
            topics=len(loaded.config.topics),
            subscriptions=len(loaded.config.subscriptions),
        )

    def _load(self) -> Loaded:
        text = _read(self._path)
        self._files = [self._path, *files_in(text, self._path)]  # also those of a version that is refused
        loaded = _load(text, self._path)
        for name, endpoint in loaded.endpoints.items():
            if not endpoint.verify_tls:
                log.warning("config.tls_not_verified", subscription=name, note="anybody could pose as it; see ca_file")
        return loaded

    def _signature(self) -> dict[Path, object]:
        """What changes when one of the files is written or replaced."""
        signature: dict[Path, object] = {}
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                signature[file] = None
            else:
                signature[file] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return signature
