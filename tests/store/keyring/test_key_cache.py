from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreUnavailable
from relay.core.secret import new_key
from relay.store import keys
from relay.store.driver.client import open_redis
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.key_cache import KeyCache
from relay.store.keyring.keyring import Keyring
from tests.building import LINE, OTHER_LINE, OTHER_SECRET, SECRET, known
from tests.support import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis


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
    async with KeyCache(keyring) as cache:
        await cache.renew()
        await redis.config_resetstat()
        await asyncio.gather(*(cache.renew() for _ in range(500)))
        assert (await redis.info("commandstats"))["cmdstat_hgetall"]["calls"] <= 2


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
        await redis.delete(keys.KEYRING)
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


async def test_redis_outage_keeps_the_secrets() -> None:
    nowhere = open_redis("redis://127.0.0.1:1/0", 0.5)
    async with KeyCache(Keyring(nowhere, Cipher(new_key()))) as cache:
        with pytest.raises(StoreUnavailable):
            await cache.renew()
        assert not cache.is_loaded
    await nowhere.aclose()
