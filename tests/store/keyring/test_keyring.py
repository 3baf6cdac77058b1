from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreError
from relay.core.secret import new_key
from relay.store.driver.client import ask
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import STRAGGLERS, Keyring
from relay.store.keyring.record import UnusableRecord
from tests.building import LINE, OTHER_LINE, SECRET, known
from tests.support import KEYS, hash_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def test_secret_is_stored_encrypted_and_decrypted_unchanged(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.store(LINE, 2, "linq-id", SECRET, 17.9)
    [record] = await keyring.records()
    assert keyring.open(record) == known(LINE, 2, SECRET)
    assert (record.subscription_id, record.stored_at) == ("linq-id", 17)
    stored = "".join((await hash_of(redis, KEYS.keyring)).values())
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


@pytest.mark.parametrize(
    ("row", "owner"),
    [
        (b"", "an unknown line"),
        (b"not JSON", "an unknown line"),
        (b"[]", "an unknown line"),
        (b"{}", "an unknown line"),
        (b'{"line": "%b", "generation": "x"}' % LINE.encode(), LINE),
        (b'{"line": null}', "account"),
        (b'{"line": 5}', "an unknown line"),
    ],
)
async def test_broken_record_breaks_no_other(redis: Redis, row: bytes, owner: str) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.store(OTHER_LINE, 1, "good", SECRET, 0)
    await ask(redis.hset(KEYS.keyring, mapping={"bad": row}))
    [record], [broken] = await keyring.read()
    assert (record.subscription_id, broken.subscription_id, broken.owner) == ("good", "bad", owner)
    assert (owner in str(broken), "run: relay bootstrap apply" in str(broken), broken.wrong_key) == (True, True, False)


async def test_record_of_another_subscription_is_broken(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.store(LINE, 1, "a", SECRET, 0)
    rows = await hash_of(redis, KEYS.keyring)
    await ask(redis.hset(KEYS.keyring, "b", rows["a"]))
    [record], [broken] = await keyring.read()
    assert (record.subscription_id, broken.subscription_id) == ("a", "b")


async def test_changed_ciphertext_is_not_taken_for_another_key(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    await keyring.store(LINE, 1, "id", SECRET, 0)
    [record] = await keyring.records()
    another = "B" if record.sealed[-9] == "A" else "A"
    for sealed in ("", "ü", record.sealed[:-9], record.sealed[:-9] + another + record.sealed[-8:]):
        with pytest.raises(UnusableRecord, match="was changed: its own key does not decrypt it") as raised:
            keyring.open(record.model_copy(update={"sealed": sealed}))
        assert (raised.value.owner, raised.value.wrong_key) == (LINE, False)


async def test_snapshot_is_none_while_the_revision_is_the_same(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    assert await keyring.snapshot() == (None, {})
    seen = None
    for change in (
        keyring.store(LINE, 1, "id", SECRET, 0),
        keyring.retire("id", 5.0),
        keyring.forget("id"),
    ):
        await change
        snapshot = await keyring.snapshot(seen)
        assert snapshot is not None
        assert await keyring.snapshot(snapshot.revision) is None
        seen = snapshot.revision


async def test_key_use_tells_which_secrets_need_an_older_key(redis: Redis) -> None:
    old, new = new_key(), new_key()
    await Keyring(redis, Cipher(old)).store(LINE, 1, "before", SECRET, 0)
    keyring = Keyring(redis, Cipher(new, old))
    await keyring.store(OTHER_LINE, 1, "after", SECRET, 0)
    assert await keyring.key_use() == ({"after"}, {"before"})
    await keyring.tidy(gone=(), now=0)
    assert not (await keyring.key_use()).older


async def test_tidy_passes_over_broken_records_and_forgets_gone_ones(redis: Redis) -> None:
    keyring = Keyring(redis, Cipher(new_key()))
    for name in ("kept", "gone"):
        await ask(redis.hset(KEYS.keyring, name, "broken"))
    await keyring.store(LINE, 1, "good", SECRET, 0)
    [record] = await keyring.records()
    changed = record.model_copy(update={"subscription_id": "changed", "sealed": "x", "key_id": "other"})
    await ask(redis.hset(KEYS.keyring, "changed", changed.model_dump_json()))
    await keyring.tidy({"gone"}, 0)
    assert set(await hash_of(redis, KEYS.keyring)) == {"kept", "good", "changed"}


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
