from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreError
from relay.core.secret import new_key
from relay.store import names
from relay.store.connect import ask
from relay.store.keyring import Keyring
from relay.store.seal import Seal
from tests.building import LINE, OTHER_LINE, SECRET, known
from tests.support import hash_of

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def test_a_secret_comes_back_and_never_lies_open(redis: Redis) -> None:
    keyring = Keyring(redis, Seal(new_key()))
    await keyring.store(LINE, 2, "linq-id", SECRET, 17.9)
    [record] = await keyring.records()
    assert keyring.open(record) == known(LINE, 2, SECRET)
    assert (record.subscription_id, record.stored_at) == ("linq-id", 17)
    stored = "".join((await hash_of(redis, names.KEYRING)).values())
    assert SECRET.text.removeprefix("whsec_") not in stored


async def test_generations_and_lines_stand_beside_each_other(redis: Redis) -> None:
    keyring = Keyring(redis, Seal(new_key()))
    for line, generation in ((LINE, 1), (LINE, 2), (OTHER_LINE, 1), (None, 1)):
        await keyring.store(line, generation, f"{line}-{generation}", SECRET, 0)
    await keyring.forget(f"{LINE}-1")
    assert {(record.line, record.generation) for record in await keyring.records()} == {
        (LINE, 2),
        (OTHER_LINE, 1),
        (None, 1),
    }


async def test_another_key_opens_nothing(redis: Redis) -> None:
    await Keyring(redis, Seal(new_key())).store(LINE, 1, "id", SECRET, 0)
    other = Keyring(redis, Seal(new_key()))
    [record] = await other.records()
    with pytest.raises(StoreError, match="another RELAY_SECRET_KEY"):
        other.open(record)


async def test_a_record_that_is_none_is_told(redis: Redis) -> None:
    await ask(redis.hset(names.KEYRING, "x", "{}"))
    with pytest.raises(StoreError, match="relay:keyring holds something that is not a key record"):
        await Keyring(redis, Seal(new_key())).records()
