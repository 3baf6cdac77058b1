"""Isolation of faults: a key or a record of one lane, topic or replay that cannot be used stops nothing else.

A command that another client runs by mistake can overwrite a key of ours. Redis then answers WRONGTYPE to every use of
it. That is no outage of Redis, and concerns only the owner of the key: its work is suspended, the log names the key and
its repair (which deletes nothing), and it continues by itself once the key is repaired. All others continue meanwhile.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.core.errors import StoreError
from relay.store.driver.client import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from relay.store.driver.client import Redis

_LOG_INTERVAL = 60.0  # seconds between two log lines about the same fault
UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OutOfMemoryError, OSError)
"""Errors of Redis as a whole: the next element would get the same one, perhaps only after a timeout."""

log = structlog.get_logger()
Result = TypeVar("Result")


class WrongType(StoreError):
    """A key is of another type than the relay writes there: another client has overwritten it."""


class WrongKey(NamedTuple):
    """A key of a wrong type."""

    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.key} is a {self.found}, not a {self.expected}"


async def wrong_keys(redis: Redis, expected: Mapping[str, str]) -> list[WrongKey]:
    """Return the keys that exist with another type than `expected` gives them."""
    async with redis.pipeline(transaction=False) as pipe:
        for key in expected:
            pipe.type(key)
        types = [found.decode() for found in await pipe.execute()]
    pairs = zip(expected.items(), types, strict=True)
    return [WrongKey(key, found, kind) for (key, kind), found in pairs if found not in {kind, "none"}]


def repair_of(wrong: Sequence[WrongKey]) -> str:
    """Return the commands by which an operator repairs keys; they delete nothing."""
    commands = "; ".join(f"RENAME {key.key} {key.key}:overwritten" for key in wrong)
    return f"another client has overwritten it; in redis-cli: {commands}; the relay then continues by itself"


def is_wrong_type(error: BaseException) -> bool:
    """Return True if Redis, or a script of ours, has found a key of a wrong type."""
    return isinstance(error, WrongType) or (isinstance(error, ResponseError) and "WRONGTYPE" in str(error))


def error_of(text: str) -> Exception:
    """Return the exception for the text of an error that a script of ours has caught."""
    return WrongType(text) if text.startswith("WRONGTYPE") else ResponseError(text)


async def checking_types(call: Awaitable[Result]) -> Result:
    """Return the result of `call`.

    Raises:
        WrongType: a key is of a wrong type; `retry_until_redis_answers` does not retry that.
    """
    try:
        return await call
    except ResponseError as error:
        if is_wrong_type(error):
            raise WrongType(str(error)) from error
        raise


class Isolation:
    """The boundary around the elements of a loop: an error of one is logged, and the loop continues with the next."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._redis = redis
        self._clock = clock
        self._logged: dict[tuple[str, str], float] = {}

    async def contain(
        self, kind: str, name: str, work: Awaitable[Result], expected: Mapping[str, str] | None = None
    ) -> Result | None:
        """Return the result of `work` on the element `name`, or None after an error of its own, which is logged.

        `expected` has the types of its keys. An error that means that Redis is unavailable is raised.
        """
        try:
            return await work
        except UNAVAILABLE:
            raise
        except Exception as error:  # noqa: BLE001  logged; the other elements must not wait for its repair
            await self._log(kind, name, error, expected or {})
        return None

    async def look(self, kind: str, name: str, expected: Mapping[str, str]) -> None:
        """Log the keys of the element `name` that are of a wrong type, if any."""
        if self._is_due(kind, name) and (wrong := await wrong_keys(self._redis, expected)):
            log_suspended(kind, name, wrong)

    async def _log(self, kind: str, name: str, error: Exception, expected: Mapping[str, str]) -> None:
        if not self._is_due(kind, name):
            return
        wrong = await wrong_keys(self._redis, expected) if is_wrong_type(error) else []
        if wrong:
            log_suspended(kind, name, wrong)
        else:
            event = f"{kind}.error"
            log.error(event, **_owner(kind, name), error=describe(error), exc_info=error)

    def _is_due(self, kind: str, name: str) -> bool:
        """Return True if the element was not logged lately."""
        now = self._clock()
        if now - self._logged.get((kind, name), -_LOG_INTERVAL) < _LOG_INTERVAL:
            return False
        self._logged[kind, name] = now
        return True


def log_suspended(kind: str, name: str, wrong: list[WrongKey]) -> None:
    """Log that an element is suspended since keys of it are of a wrong type, and how they are repaired."""
    event = f"{kind}.suspended"
    log.error(event, **_owner(kind, name), error="; ".join(map(str, wrong)), note=repair_of(wrong))


def _owner(kind: str, name: str) -> dict[str, str]:
    return {"subscription" if kind == "lane" else kind: name}
