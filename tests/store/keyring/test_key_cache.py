from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.errors import StoreUnavailable
from relay.core.secret import new_key
from relay.store.driver.client import ask, open_redis
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.key_cache import KeyCache, KeyringState
from relay.store.keyring.keyring import Keyring
from tests.building import LINE, OTHER_LINE, OTHER_SECRET, SECRET, known
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from relay.core.line_secret import LineSecret
    from relay.store.driver.client import Redis
    from relay.store.keyring.record import KeyRecord


@pytest.fixture
def keyring(redis: Redis) -> Keyring:
    return Keyring(redis, Cipher(new_key()))


async def test_is_loaded_once_there_is_a_secret(keyring: Keyring) -> None:
    async with KeyCache(keyring) as cache:
        await cache.renew()
        assert not cache.is_loaded
        await keyring.store(LINE, 1, "id", SECRET, 0)
        await eventually(lambda: cache.is_loaded)
        assert cache.secrets_for(LINE, None) == (known(),)


async def test_fixed_secret_is_enough_to_be_loaded(keyring: Keyring) -> None:
    async with KeyCache(keyring, [known(None, 0)]) as cache:
        await eventually(lambda: cache.is_loaded)
        assert cache.fixed == (known(None, 0),)
        assert cache.secrets_for(None, None) == ()


async def test_renewal_sees_secrets_stored_before_it(keyring: Keyring) -> None:
    async with KeyCache(keyring) as cache:
        for generation in (1, 2, 3):
            await keyring.store(LINE, generation, str(generation), SECRET, 0)
            await cache.renew()
            assert cache.has(LINE, generation)


async def test_many_renewals_share_few_reads(redis: Redis, keyring: Keyring) -> None:
    await keyring.store(LINE, 1, "id", SECRET, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        await redis.config_resetstat()
        await asyncio.gather(*(cache.renew() for _ in range(500)))
        stats = await redis.info("commandstats")
    assert stats["cmdstat_get"]["calls"] <= 2
    assert "cmdstat_hgetall" not in stats


async def test_too_many_renewals_are_refused(keyring: Keyring) -> None:
    async with KeyCache(keyring) as cache:
        await cache.renew()
        answers = await asyncio.gather(*(cache.renew() for _ in range(1100)), return_exceptions=True)
    assert sum(isinstance(answer, StoreUnavailable) for answer in answers) == 100


async def test_generation_of_the_url_comes_first(keyring: Keyring) -> None:
    for generation, secret in ((1, SECRET), (2, OTHER_SECRET)):
        await keyring.store(LINE, generation, str(generation), secret, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        assert [secret.generation for secret in cache.secrets_for(LINE, None)] == [2, 1]
        assert [secret.generation for secret in cache.secrets_for(LINE, 1)] == [1, 2]
        assert cache.secrets_for(LINE, None)
        assert cache.has(LINE, 1)
        assert not cache.has(LINE, 3)
        assert not cache.secrets_for(OTHER_LINE, None)


async def test_emptied_keyring_keeps_the_secrets(redis: Redis, keyring: Keyring) -> None:
    await keyring.store(LINE, 1, "id", SECRET, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        await redis.delete(KEYS.keyring)
        await cache.renew()
        assert cache.secrets_for(LINE, None) == (known(),)


async def test_deleted_secret_leaves_the_cache(keyring: Keyring) -> None:
    for line in (LINE, OTHER_LINE):
        await keyring.store(line, 1, line, SECRET, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        await keyring.forget(LINE)
        await cache.renew()
        assert not cache.secrets_for(LINE, None)
        assert cache.lines == 1


async def test_secret_under_another_key_is_skipped(redis: Redis, keyring: Keyring) -> None:
    await Keyring(redis, Cipher(new_key())).store(OTHER_LINE, 1, "other", SECRET, 0)
    await keyring.store(LINE, 1, "id", SECRET, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        assert (bool(cache.secrets_for(LINE, None)), cache.secrets_for(OTHER_LINE, None)) == (True, ())


async def test_only_changed_records_are_decrypted(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        await keyring.store(f"+1646555{number:04}", 1, str(number), SECRET, 0)
    opened = []

    def counting(record: KeyRecord) -> LineSecret:
        opened.append(record.subscription_id)
        return open_record(record)

    open_record = keyring.open
    monkeypatch.setattr(keyring, "open", counting)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        assert len(opened) == 50
        await keyring.store(LINE, 1, "new", SECRET, 0)
        await cache.renew()
        assert (opened[50:], cache.lines) == (["new"], 51)


BROKEN = [b"not JSON", b"[]", b'{"line": "%b", "generation": 1}' % OTHER_LINE.encode(), b"\xff\xfe"]


@pytest.mark.parametrize("row", BROKEN)
async def test_broken_record_breaks_its_line_only(redis: Redis, keyring: Keyring, row: bytes) -> None:
    await keyring.store(LINE, 1, "good", SECRET, 0)
    await ask(redis.hset(KEYS.keyring, mapping={"bad": row}))
    with capture_logs() as logs:
        async with KeyCache(keyring) as cache:
            await cache.renew()
            assert cache.secrets_for(LINE, 1) == (known(),)
            assert (cache.state, [error.subscription_id for error in cache.errors]) == (KeyringState.OK, ["bad"])
            await cache.renew()
    [line] = logs
    assert (line["event"], line["log_level"], line["subscription"]) == ("keyring.error", "error", "bad")
    assert "run: relay bootstrap apply" in line["message"]


async def test_record_that_breaks_while_running_keeps_its_secret(redis: Redis, keyring: Keyring) -> None:
    await keyring.store(LINE, 1, "id", SECRET, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        await ask(redis.hset(KEYS.keyring, "id", "broken"))
        await redis.delete(KEYS.keyring_revision)
        await cache.renew()
        assert cache.secrets_for(LINE, None) == (known(),)
        assert len(cache.errors) == 1


@pytest.mark.parametrize(
    ("fill", "state"),
    [
        (None, KeyringState.EMPTY),
        (Cipher(new_key()), KeyringState.WRONG_KEY),
        ("broken", KeyringState.UNUSABLE),
    ],
)
async def test_state_names_the_cause(redis: Redis, keyring: Keyring, fill: object, state: KeyringState) -> None:
    if isinstance(fill, Cipher):
        for line in (LINE, OTHER_LINE):
            await Keyring(redis, fill).store(line, 1, line, SECRET, 0)
    elif fill is not None:
        await ask(redis.hset(KEYS.keyring, "x", "broken"))
    assert KeyCache(keyring).state is KeyringState.NOT_READ
    async with KeyCache(keyring) as cache:
        await cache.renew()
        assert cache.state is state


async def test_wrong_key_is_logged_once_for_all_lines(redis: Redis, keyring: Keyring) -> None:
    for line in (LINE, OTHER_LINE):
        await Keyring(redis, Cipher(new_key())).store(line, 1, line, SECRET, 0)
    with capture_logs() as logs:
        async with KeyCache(keyring) as cache:
            await cache.renew()
            await cache.renew()
    first, rest = (line["message"] for line in logs)
    assert "was encrypted with another RELAY_SECRET_KEY: use that key" in first
    assert rest == "the same for 1 more records of the keyring"


async def test_keyring_of_another_type_keeps_the_secrets(redis: Redis, keyring: Keyring) -> None:
    await keyring.store(LINE, 1, "id", SECRET, 0)
    async with KeyCache(keyring) as cache:
        await cache.renew()
        await redis.rename(KEYS.keyring, "aside")
        await redis.set(KEYS.keyring, "a string")
        await redis.set(KEYS.keyring_revision, "another")
        with pytest.raises(StoreUnavailable):
            await cache.renew()
        assert (cache.secrets_for(LINE, None), "WRONGTYPE" in str(cache.read_error)) == ((known(),), True)


async def test_wrong_key_is_not_hidden_by_a_fixed_secret(redis: Redis, keyring: Keyring) -> None:
    await Keyring(redis, Cipher(new_key())).store(LINE, 1, "id", SECRET, 0)
    async with KeyCache(keyring, [known(None, 0)]) as cache:
        await cache.renew()
        assert cache.state is KeyringState.WRONG_KEY


async def test_redis_outage_keeps_the_secrets() -> None:
    nowhere = open_redis("redis://127.0.0.1:1/0", 0.5)
    async with KeyCache(Keyring(nowhere, Cipher(new_key()))) as cache:
        with pytest.raises(StoreUnavailable):
            await cache.renew()
        assert not cache.is_loaded
    await nowhere.aclose()
