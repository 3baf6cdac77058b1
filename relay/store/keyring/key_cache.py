"""The ingress's cache of the keyring, with rate-limited refreshes.

A request without a matching secret waits for a copy that was read after it arrived (`renew`): bootstrap may have stored
the secret a moment ago. All such requests share the next read, and reads have a minimum interval, so that a flood of
forged requests costs Redis only a few reads a second. The keyring is also read every few seconds without a request.

An empty keyring after a full one means that Redis lost its data, not that every secret was deleted: the cache is kept.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import structlog

from relay.core.errors import StoreError, StoreUnavailable
from relay.process.tasks import end_task
from relay.store.driver.client import REQUEST_TIMEOUT, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.line_secret import LineSecret
    from relay.store.keyring.keyring import Keyring

_MIN_INTERVAL = 0.25  # seconds between two requested reads
_INTERVAL = 5.0  # seconds between reads without a request
_MAX_WAITING = 1000  # requests; more is a flood, and gets 503

log = structlog.get_logger()


class KeyCache:
    """The decrypted secrets by line. Enter it as a context, in which the keyring is read periodically."""

    def __init__(self, keyring: Keyring, fixed: Sequence[LineSecret] = ()) -> None:
        """`fixed` are secrets that do not come from Redis (v2's)."""
        self._keyring = keyring
        self._fixed = tuple(fixed)
        self._secrets: dict[str | None, tuple[LineSecret, ...]] = {}
        self._is_read = False
        self._requested = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._logged: set[str] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read_forever(), name="key cache")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    @property
    def is_loaded(self) -> bool:
        """True if the keyring was read and there is at least one secret."""
        return self._is_read and bool(self._secrets or self._fixed)

    @property
    def lines(self) -> int:
        """The number of lines that have a secret."""
        return len(self._secrets)

    @property
    def fixed(self) -> tuple[LineSecret, ...]:
        """The secrets that do not come from Redis."""
        return self._fixed

    def secrets_for(self, line: str | None, generation: int | None) -> tuple[LineSecret, ...]:
        """Return the secrets of `line`, that of `generation` first."""
        secrets = self._secrets.get(line, ())
        if generation is not None and len(secrets) > 1:
            return tuple(sorted(secrets, key=lambda known: known.generation != generation))
        return secrets

    def has(self, line: str | None, generation: int) -> bool:
        """Return True if there is a secret of this generation of `line`."""
        return any(known.generation == generation for known in self._secrets.get(line, ()))

    async def renew(self) -> None:
        """Read the keyring again, and return after a read that began after this call.

        Raises:
            StoreUnavailable: Redis could not be read, or too many requests wait already.
        """
        if len(self._waiting) >= _MAX_WAITING:
            raise StoreUnavailable("too many requests wait for the keyring")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._requested.set()
        await future

    async def _read_forever(self) -> None:
        while True:
            self._requested.clear()
            waiting, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    await self._read()
            except Exception as error:  # noqa: BLE001  waiting requests get any error
                self._log_once("keyring", f"the keyring cannot be read: {describe(error)}")
                for future in waiting:
                    if not future.done():
                        future.set_exception(StoreUnavailable("the keyring could not be read again"))
            else:
                self._logged.discard("keyring")
                for future in waiting:
                    if not future.done():
                        future.set_result(None)
            await asyncio.sleep(_MIN_INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL if self.is_loaded else _MIN_INTERVAL):
                    await self._requested.wait()

    async def _read(self) -> None:
        records = await self._keyring.records()
        if not records and self._secrets:
            self._log_once(
                "empty",
                "the keyring in Redis is empty; the secrets read before are still used. Run: relay bootstrap apply",
            )
            return
        self._logged.discard("empty")
        found: dict[str | None, list[LineSecret]] = {}
        for record in records:
            try:
                known = self._keyring.open(record)
            except StoreError as error:
                self._log_once(record.subscription_id, str(error), line=record.line, generation=record.generation)
            else:
                found.setdefault(known.line, []).append(known)
        self._secrets = {
            line: tuple(sorted(known, key=lambda known: -known.generation)) for line, known in found.items()
        }
        self._is_read = True

    def _log_once(self, about: str, message: str, **details: object) -> None:
        """Log each error once, not at every read."""
        if about not in self._logged:
            self._logged.add(about)
            log.error("keyring.error", message=message, **details)
