from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreError
from relay.core.secret import new_key
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import STRAGGLERS, Keyring
from tests.building import LINE, OTHER_LINE, SECRET, known
from tests.support import hash_of

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def test_secret_is_stored_encrypted_and_decrypted_unchanged(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.store(LINE, 2, "linq-id", SECRET, 17.9)
    [record] = await keyring.records()
    assert keyring.open(record) == known(LINE, 2, SECRET)
    assert (record.subscription_id, record.stored_at) == ("linq-id", 17)
    stored = "".join((await hash_of(redis, keys.KEYRING)).values())
    assert SECRET.text.removeprefix("whsec_") not in stored


async def test_generations_and_lines_are_stored_separately(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    for line, generation in ((LINE, 1), (LINE, 2), (OTHER_LINE, 1), (None, 1)):
        await keyring.store(line, generation, f"{line}-{generation}", SECRET, 0)
    await keyring.forget(f"{LINE}-1")
    assert {(record.line, record.generation) for record in await keyring.records()} == {
        (LINE, 2),
        (OTHER_LINE, 1),
        (None, 1),
    }


async def test_another_key_decrypts_no_secret(redis: Redis) -> None:
    await Keyring(redis, Cipher(new_key())).store(LINE, 1, "id", SECRET, 0)
    other = Keyring(redis, Cipher(new_key()))
    [record] = await other.records()
    with pytest.raises(StoreError, match="another RELAY_SECRET_KEY"):
        other.open(record)


async def test_invalid_record_is_reported(redis: Redis) -> None:
    await ask(redis.hset(keys.KEYRING, "x", "{}"))
    with pytest.raises(StoreError, match="of relay:keyring is not the record of a secret: delete it"):
        await Keyring(redis, Cipher(new_key())).records()


async def test_tidy_encrypts_old_secrets_with_the_new_key(redis: Redis) -> None:
    old, new = new_key(), new_key()
    await Keyring(redis, Cipher(old)).store(LINE, 1, "linq-id", SECRET, 0)
    both = Keyring(redis, Cipher(new, old))
    [before] = await both.records()
    assert both.open(before).secret == SECRET
    assert before.key_id == Cipher(old).key_id
    await both.tidy(gone=(), now=0)
    [after] = await Keyring(redis, Cipher(new)).records()
    assert after.key_id == Cipher(new).key_id
    assert Keyring(redis, Cipher(new)).open(after).secret == SECRET


async def test_secret_of_a_deleted_subscription_is_kept_for_stragglers(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.store(LINE, 1, "gone", SECRET, 0)
    await keyring.store(LINE, 2, "there", SECRET, 0)
    for now, kept in ((1000.0, {"gone", "there"}), (1000.0 + STRAGGLERS, {"gone", "there"}), (2801.0, {"there"})):
        await keyring.tidy({"gone"}, now)
        assert {record.subscription_id for record in await keyring.records()} == kept


async def test_retiring_an_unknown_subscription_changes_nothing(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.retire("unknown", 5.0)
    assert await keyring.records() == []
