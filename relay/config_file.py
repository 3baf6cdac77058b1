"""relay.toml as a file: read with its secrets, and read again when it changes.

A change that is good replaces the rules at once, without a restart; one that is not is refused with every mistake in
the log, and the old rules stay. Files that hold secrets count as part of it, so a rotated secret is picked up too.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog
from dotenv import dotenv_values

from relay.core.config import RelayConfig, parse_config, secret_references
from relay.core.errors import ConfigError, Problem
from relay.core.secret import SecretReference, SigningSecret
from relay.core.toml_places import TomlPlaces
from relay.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_INTERVAL = 1.0  # seconds between looks at the file; a stat costs microseconds and works on every mount

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loaded:
    """One version of relay.toml, with the secrets it refers to."""

    config: RelayConfig
    secrets: Mapping[str, SigningSecret]
    """By subscription."""


def read_config(path: Path) -> RelayConfig:
    """The rules in the file at `path`, without looking for secrets.

    Raises:
        ConfigError: the file is not there or has mistakes; all of them.
    """
    return parse_config(_read(path), str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "There are no rules:",
            (Problem(str(path), "no such file; RELAY_CONFIG says where it is, the README what stands in it"),),
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("The rules cannot be read:", (Problem(str(path), str(error)),)) from None


def load_config(path: Path) -> Loaded:
    """The rules in the file at `path`, and the secret of every subscription.

    Raises:
        ConfigError: the file is not there or has mistakes, or secrets are missing; all of them.
    """
    text = _read(path)
    secrets, missing = _secrets_in(text, path)
    try:
        config = parse_config(text, str(path))
    except ConfigError as error:
        problems = sorted((*error.problems, *missing), key=lambda problem: TomlPlaces.order(problem.place))
        raise ConfigError(error.heading, tuple(problems)) from None
    if missing:
        raise ConfigError("Secrets of subscriptions are missing:", tuple(missing))
    return Loaded(config, {subscription.name: secrets[subscription.name] for subscription in config.subscriptions})


def _secrets_in(text: str, path: Path) -> tuple[dict[str, SigningSecret], list[Problem]]:
    """The secrets of the subscriptions in `text`, and which are missing; what is no reference at all is not our matter.

    Looks at raw data, so that it finds these also in a file with other mistakes.
    """
    places = TomlPlaces(text, str(path))
    secrets: dict[str, SigningSecret] = {}
    missing: list[Problem] = []
    for number, name, reference in secret_references(text):
        try:
            secrets[name] = _resolve(reference, path.parent)
        except ValueError as error:
            missing.append(Problem(places.of(("subscriptions", number, "secret")), f"{name}: {error}"))
    return secrets, missing


def _resolve(reference: SecretReference, base: Path) -> SigningSecret:
    """The secret that `reference` points at; files are relative to the rules' directory."""
    match reference.source:
        case "env":
            text = os.environ.get(reference.value) or dotenv_values(".env").get(reference.value)
            if not text:
                raise ValueError(f"the environment variable {reference.value} is not set")
        case "file":
            try:
                text = (base / reference.value).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{reference.value} cannot be read: {error}") from None
        case _:
            text = reference.value
    secret = SigningSecret(text)
    if secret.decoded is None:
        raise ValueError("the secret is not whsec_ and base64; `relay secret generate` makes one")
    return secret


class ConfigFile:
    """The rules in force. Enter it as a context: the file is watched until it is left."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
            ConfigError: as `load_config`.
        """
        self._path = path
        self.current = load_config(path)
        self._wanted = self.current.config
        self._seen = self._signature()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="config file")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            before = self._signature()
            if before == self._seen:
                continue
            try:
                self._reload()
            except Exception:  # whatever it is, the file has to be looked at again when it changes again
                log.exception("config.broken", file=str(self._path))
            # A file that was written while we read it differs from its state before, and is read again.
            after = self._signature()
            self._seen = {file: before.get(file, after[file]) for file in after}

    def _reload(self) -> None:
        try:
            self._wanted = read_config(self._path)
            loaded = load_config(self._path)
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

    def _files(self) -> list[Path]:
        """The file, and the files with secrets that its last readable version refers to, in force or not."""
        references = (subscription.secret for subscription in self._wanted.subscriptions)
        return [self._path, *(self._path.parent / r.value for r in references if r.source == "file")]

    def _signature(self) -> dict[Path, object]:
        """What changes when one of the files is written or replaced."""
        signature: dict[Path, object] = {}
        for file in self._files():
            try:
                status = file.stat()
            except OSError:
                signature[file] = None
            else:
                signature[file] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return signature
