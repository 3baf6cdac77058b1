"""The ingress's cache of the keyring, with rate-limited refreshes that open only what has changed.

A request without a matching secret waits for a read that began after it arrived (`renew`): bootstrap may have stored
the secret a moment ago. All such requests share the next read, and reads have a minimum interval. A read asks Redis for
the revision of the keyring; only when that has changed are the records read, and only those that differ are decrypted.
So a flood of requests for unknown lines costs four small reads a second, whatever the number of lines. The keyring is
also read without a request: its revision every few seconds, all of it every minute, in case it was changed by hand.

A record that cannot be used is logged with its line and what repairs it. It takes away no secret: that of its own
subscription stays as it was read before, and every other line is served. An empty keyring after a full one means that
Redis lost its data, not that every secret was deleted: the cache is kept.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from relay.core.errors import StoreUnavailable
from relay.process.tasks import end_task
from relay.store.driver.client import REQUEST_TIMEOUT, describe
from relay.store.keyring.record import UnusableRecord, parse_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.line_secret import LineSecret
    from relay.store.keyring.keyring import Keyring, Snapshot

_MIN_INTERVAL = 0.25  # seconds between two requested reads
_INTERVAL = 5.0  # seconds between reads without a request
_FULL_INTERVAL = 60.0  # seconds between reads of all records, whatever the revision
_MAX_WAITING = 1000  # requests; more is a flood, and gets 503
_AT_ONCE = 20  # records decrypted before other tasks get their turn; a record takes about 0.1 ms
_MAX_LOGGED = 20  # unusable records that are logged one by one; one line counts the rest

log = structlog.get_logger()


class KeyringState(StrEnum):
    """State of the cache, in words that may be shown to anyone."""

    OK = "ok"
    NOT_READ = "not_read"
    """Redis has not answered yet."""
    EMPTY = "empty"
    WRONG_KEY = "wrong_key"
    """RELAY_SECRET_KEY opens no record."""
    UNUSABLE = "unusable"
    """No record is intact."""


class _Record(NamedTuple):
    """A record as it was read last."""

    row: bytes
    secret: LineSecret | None
    """None if it was never usable."""
    error: UnusableRecord | None


class KeyCache:
    """The decrypted secrets by line. Enter it as a context, in which the keyring is read periodically."""

    def __init__(self, keyring: Keyring, fixed: Sequence[LineSecret] = ()) -> None:
        """`fixed` are secrets that do not come from Redis (v2's)."""
        self._keyring = keyring
        self._fixed = tuple(fixed)
        self._revision: bytes | None = None
        self._records: dict[bytes, _Record] = {}
        self._names: dict[str | None, set[bytes]] = {}  # of the records with a secret of each place
        self._secrets: dict[str | None, tuple[LineSecret, ...]] = {}
        self._is_read = False
        self.read_error: str | None = None
        """Reason why the last read failed; None if it did not."""
        self._full_read_at = 0.0
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
    def is_read(self) -> bool:
        """True if the keyring was read at least once."""
        return self._is_read

    @property
    def is_loaded(self) -> bool:
        """True if webhooks can be verified: the keyring was read, and there is a secret."""
        return self.state is KeyringState.OK

    @property
    def state(self) -> KeyringState:
        """The state. A key that opens nothing is wrong, even where v2's secret does not need it."""
        if not self._is_read:
            return KeyringState.NOT_READ
        if self._secrets:
            return KeyringState.OK
        if self._records:
            errors = [record.error for record in self._records.values()]
            wrong_key = any(error is not None and error.wrong_key for error in errors)
            return KeyringState.WRONG_KEY if wrong_key else KeyringState.UNUSABLE
        return KeyringState.OK if self._fixed else KeyringState.EMPTY

    @property
    def lines(self) -> int:
        """The number of lines that have a secret."""
        return len(self._secrets)

    @property
    def errors(self) -> list[UnusableRecord]:
        """The records that cannot be used."""
        return [record.error for record in self._records.values() if record.error is not None]

    @property
    def fixed(self) -> tuple[LineSecret, ...]:
        """The secrets that do not come from Redis."""
        return self._fixed

    def secrets_for(self, place: str | None, generation: int | None) -> tuple[LineSecret, ...]:
        """Return the secrets of `place`, a line or a line of an account (`place_of`), that of `generation` first."""
        secrets = self._secrets.get(place, ())
        if generation is not None and len(secrets) > 1:
            return tuple(sorted(secrets, key=lambda known: known.generation != generation))
        return secrets

    def has(self, place: str | None, generation: int) -> bool:
        """Return True if there is a secret of this generation of `place`."""
        return any(known.generation == generation for known in self._secrets.get(place, ()))

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
                await self._read()
            except Exception as error:  # noqa: BLE001  waiting requests get any error
                self.read_error = f"the keyring cannot be read: {describe(error)}"
                self._log_once("keyring", self.read_error)
                for future in waiting:
                    if not future.done():
                        future.set_exception(StoreUnavailable("the keyring could not be read again"))
            else:
                self.read_error = None
                self._logged.discard("keyring")
                for future in waiting:
                    if not future.done():
                        future.set_result(None)
            await asyncio.sleep(_MIN_INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL if self.is_loaded else _MIN_INTERVAL):
                    await self._requested.wait()

    async def _read(self) -> None:
        is_full = time.monotonic() >= self._full_read_at + _FULL_INTERVAL
        async with asyncio.timeout(REQUEST_TIMEOUT):
            snapshot = await self._keyring.snapshot(None if is_full else self._revision)
        if snapshot is None:
            return
        self._full_read_at = time.monotonic()
        if not snapshot.rows and self._secrets:
            self._log_once(
                "empty",
                "the keyring in Redis is empty; the secrets read before are still used. Run: relay bootstrap apply",
            )
            return
        self._logged.discard("empty")
        await self._take(snapshot)
        self._is_read = True

    async def _take(self, snapshot: Snapshot) -> None:
        """Open what differs from the last read, and put it in force."""
        changed = [(name, row) for name, row in snapshot.rows.items() if not self._is_known(name, row)]
        places = {self._drop(name) for name in self._records.keys() - snapshot.rows.keys()}
        errors = []
        for number, (name, row) in enumerate(changed, start=1):
            record = self._opened(name, row)
            places |= {self._drop(name), self._put(name, record)}
            if record.error is not None:
                errors.append(record.error)
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
        for place in places:
            self._update(place)
        self._revision = snapshot.revision
        self._log_errors(errors)

    def _is_known(self, name: bytes, row: bytes) -> bool:
        known = self._records.get(name)
        return known is not None and known.row == row

    def _opened(self, name: bytes, row: bytes) -> _Record:
        try:
            return _Record(row, self._keyring.open(parse_record(name, row)), None)
        except UnusableRecord as error:
            known = self._records.get(name)
            return _Record(row, known.secret if known else None, error)

    def _put(self, name: bytes, record: _Record) -> str | None:
        """Store a record; return its place."""
        self._records[name] = record
        if record.secret is None:
            return None
        place = record.secret.place
        self._names.setdefault(place, set()).add(name)
        return place

    def _drop(self, name: bytes) -> str | None:
        """Forget a record, if it is there; return its place."""
        record = self._records.pop(name, None)
        if record is None or record.secret is None:
            return None
        place = record.secret.place
        self._names[place].discard(name)
        return place

    def _update(self, place: str | None) -> None:
        """Collect the secrets of a place, the newest generation first."""
        found = [self._records[name].secret for name in self._names.get(place, ())]
        secrets = sorted((secret for secret in found if secret), key=lambda known: -known.generation)
        if secrets:
            self._secrets[place] = tuple(secrets)
        else:
            self._secrets.pop(place, None)
            self._names.pop(place, None)

    def _log_errors(self, errors: Sequence[UnusableRecord]) -> None:
        """Log unusable records when they are first read; a wrong key once, since it concerns all of them."""
        wrong_key = [error for error in errors if error.wrong_key]
        broken = [error for error in errors if not error.wrong_key]
        for error in (*wrong_key[:1], *broken[:_MAX_LOGGED]):
            log.error("keyring.error", message=str(error), line=error.owner, subscription=error.subscription_id)
        for left in (wrong_key[1:], broken[_MAX_LOGGED:]):
            if left:
                lines = sorted({error.owner for error in left})
                log.error(
                    "keyring.error",
                    message=f"the same for {len(left)} more records of the keyring",
                    lines=lines[:_MAX_LOGGED],
                )

    def _log_once(self, about: str, message: str) -> None:
        """Log an error once, not at every read."""
        if about not in self._logged:
            self._logged.add(about)
            log.error("keyring.error", message=message)
