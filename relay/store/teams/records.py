"""The records of teams and tokens: JSON in a hash, each changed in one step from the state that was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from relay.core.errors import StoreError
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis


class Record(BaseModel):
    """A record in a hash of Redis; fields of newer versions are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    @classmethod
    def of(cls, row: bytes) -> Self | None:
        """Return the record; None if it cannot be read."""
        try:
            return cls.model_validate_json(row)
        except ValidationError:
            return None


RecordType = TypeVar("RecordType", bound=Record)


class Records(Generic[RecordType]):
    """A hash of records by name."""

    def __init__(self, redis: Redis, key: str, kind: type[RecordType]) -> None:
        self._redis = redis
        self._key = key
        self._kind = kind

    async def all(self) -> dict[str, RecordType]:
        """Return every record, in the order of the names."""
        rows: dict[bytes, bytes] = await ask(self._redis.hgetall(self._key))
        return {name.decode(): self._read(name.decode(), row) for name, row in sorted(rows.items())}

    async def get(self, name: str) -> RecordType | None:
        """Return a record; None if there is none."""
        row: bytes | None = await ask(self._redis.hget(self._key, name))  # type: ignore[arg-type]
        return None if row is None else self._read(name, row)

    async def add(self, name: str, record: RecordType) -> bool:
        """Add a record; False if there is one of that name, which stays."""
        return bool(await ask(self._redis.hsetnx(self._key, name, record.model_dump_json())))

    async def change(self, name: str, change: Callable[[RecordType], RecordType | None]) -> RecordType | None:
        """Replace a record by what `change` makes of it, or delete it where that is None; return the new one.

        `change` sees the present record, may raise an error, and is called again if another client was quicker. Without
        a record, nothing is done.
        """
        changed: RecordType | None = None

        async def attempt(pipe: Pipeline) -> None:
            nonlocal changed
            row: bytes | None = await ask(pipe.hget(self._key, name))  # type: ignore[arg-type]
            changed = None if row is None else change(self._read(name, row))
            pipe.multi()  # type: ignore[no-untyped-call]
            if changed is not None:
                pipe.hset(self._key, name, changed.model_dump_json())
            elif row is not None:
                pipe.hdel(self._key, name)

        await self._redis.transaction(attempt, self._key)
        return changed

    async def delete(self, name: str, *also: str) -> None:
        """Delete a record, and the fields of its name in the hashes `also`."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for key in (self._key, *also):
                pipe.hdel(key, name)
            await pipe.execute()

    def _read(self, name: str, row: bytes) -> RecordType:
        record = self._kind.of(row)
        if record is None:
            raise StoreError(f'the record "{name}" in {self._key} cannot be read; it was changed by another program')
        return record
