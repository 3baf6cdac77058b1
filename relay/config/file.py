"""relay.toml as a file: loaded with the secrets it refers to, and reloaded when it changes.

A valid change replaces the rules at once, without a restart. An invalid one is refused, every mistake is logged, and
the old rules stay in force. Files that relay.toml refers to are watched too, so a rotated secret is picked up.
"""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import structlog

from relay.config.secrets.lookup import alerts_endpoint, endpoints_of, files_in, look_up
from relay.core.config.checks.toml_positions import TomlPositions
from relay.core.config.relay_toml import RelayConfig, parse_config, tables_in
from relay.core.errors import ConfigError, Problem
from relay.core.timestamps import utc_text
from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from relay.core.config.endpoint import Endpoint

_FINGERPRINT_LENGTH = 12  # characters: enough to tell versions of a file apart

log = structlog.get_logger()


class Loaded(NamedTuple):
    """A version of relay.toml, with the values of its references."""

    config: RelayConfig
    endpoints: Mapping[str, Endpoint]
    """By subscription."""
    alerts: tuple[str, Endpoint] | None = None
    """The URL and the endpoint of `[alerts]`."""


class Refusal(NamedTuple):
    """A changed relay.toml that is not in force, because it has mistakes."""

    at: float
    """Unix seconds."""
    problems: tuple[str, ...]


def read_config(path: Path) -> RelayConfig:
    """Read the rules in the file at `path`, without looking up secrets.

    Raises:
        ConfigError: the file does not exist or has mistakes; lists all of them.
    """
    return parse_config(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except FileNotFoundError:
        raise ConfigError(
            "There is no relay.toml:",
            (
                Problem(
                    str(path), "no such file; create it (the README has an example) or set RELAY_CONFIG to its path"
                ),
            ),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("relay.toml cannot be read:", (Problem(str(path), str(error)),)) from None


def load_config(path: Path) -> Loaded:
    """Read the rules in the file at `path`, and the endpoint of every subscription.

    Raises:
        ConfigError: the file does not exist or has mistakes, or a secret it refers to is missing; lists all of them.
    """
    text = _read(path)
    return _load(text, path, tables_in(text))


def _load(text: str, path: Path, tables: dict[str, Any] | None) -> Loaded:
    found, missing = look_up(text, path, tables or {})
    try:
        config = parse_config(text, str(path), tables)
    except ConfigError as error:
        told = {problem.place for problem in error.problems}
        further = [problem for problem in missing if problem.place not in told]
        problems = sorted((*error.problems, *further), key=lambda problem: TomlPositions.order(problem.place))
        raise ConfigError(error.heading, tuple(problems)) from None
    if missing:
        raise ConfigError("Values that subscriptions refer to are missing or invalid:", tuple(missing))
    return Loaded(config, endpoints_of(config, found), alerts_endpoint(config, found))


class RulesInForce(Protocol):
    """The rules in force, which may change at any time."""

    @property
    def current(self) -> Loaded:
        """The rules of this moment; another object after every change."""
        ...

    @property
    def is_refused(self) -> bool:
        """True if the last change of relay.toml was refused."""
        ...

    def report(self) -> dict[str, Any]:
        """Return which version of the rules is in force, for operators."""
        ...


class ConfigFile:
    """relay.toml, and the rules that it has. As a context manager, it watches the file while the context is open."""

    def __init__(self, path: Path, poll_interval: float = DEFAULTS.config_poll) -> None:
        """Read the file; it is checked for changes every `poll_interval` seconds.

        Raises:
            ConfigError: as `load_config`.
        """
        self._path = path
        self._poll_interval = poll_interval
        self._last_seen: dict[Path, object] = {path: None}
        """The state of every file that the rules come from, from before it was read."""
        self._fingerprint = ""
        self._loaded_at = 0.0
        self._refusal: Refusal | None = None
        self.current: Loaded = self._load()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="config file")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_interval)
            await self.follow()

    async def follow(self) -> None:
        """Reload the file if it has changed, in a thread: 20,000 subscriptions take seconds, and leases less."""
        if self._has_changed:
            await asyncio.to_thread(self.check)

    @property
    def _has_changed(self) -> bool:
        return self._signatures() != self._last_seen

    def check(self) -> None:
        """Reload the file if it has changed since it was read."""
        if not self._has_changed:
            return
        try:
            self.reload()
        except Exception:  # any error: the watch must continue, so that the next change is read
            log.exception("config.error", file=str(self._path))

    def reload(self) -> None:
        """Reload the file. An invalid file is logged and refused; the former rules stay in force."""
        try:
            loaded = self._load()
        except ConfigError as error:
            log.error(  # noqa: TRY400  a mistake of the operator, not a bug: no traceback
                "config.refused",
                file=str(self._path),
                problems=[str(problem) for problem in error.problems],
                note="the previous rules stay in force",
            )
            self._refusal = Refusal(time.time(), tuple(map(str, error.problems)))
            return
        self._refusal = None
        self.current = loaded
        log.info(
            "config.reloaded",
            file=str(self._path),
            topics=len(loaded.config.topics),
            subscriptions=len(loaded.config.subscriptions),
        )

    @property
    def is_refused(self) -> bool:
        """True if the last change of the file was refused."""
        return self._refusal is not None

    def report(self) -> dict[str, Any]:
        """Return which version of the file is in force, and why a newer one was refused, for operators."""
        refusal = self._refusal
        return {
            "file": str(self._path),
            "fingerprint": self._fingerprint,
            "loaded_at": utc_text(self._loaded_at),
            "refused": {"at": utc_text(refusal.at), "problems": refusal.problems} if refusal else None,
        }

    def _load(self) -> Loaded:
        # Each file is looked at before it is read: what is written from then on is a change that the next check sees.
        self._last_seen = self._signatures()
        text = _read(self._path)
        tables = tables_in(text)
        others = {file: _signature(file) for file in files_in(tables or {}, self._path)}
        self._last_seen = {self._path: self._last_seen[self._path], **others}  # a refused version is watched too
        loaded = _load(text, self._path, tables)
        self._fingerprint = sha256(text.encode()).hexdigest()[:_FINGERPRINT_LENGTH]
        self._loaded_at = time.time()
        for name, endpoint in loaded.endpoints.items():
            if not endpoint.verify_tls:
                log.warning(
                    "config.tls_not_verified",
                    subscription=name,
                    note="the certificate is not checked, so another server could receive its events; use ca_file",
                )
        return loaded

    def _signatures(self) -> dict[Path, object]:
        return {file: _signature(file) for file in self._last_seen}


def _signature(file: Path) -> object:
    """Return a value that changes when the file is written or replaced."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
