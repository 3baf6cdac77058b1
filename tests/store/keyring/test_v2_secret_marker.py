from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.secret import SigningSecret, new_key
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.v2_secret_marker import V2SecretMarker
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

KEY = new_key()
SECRET, OTHER = SigningSecret("our-own-secret"), SigningSecret("another-secret")


@pytest.fixture
def sent(redis: Redis) -> V2SecretMarker:
    return V2SecretMarker(redis, Cipher(KEY))


async def test_no_holder_before_a_secret_is_sent(sent: V2SecretMarker) -> None:
    assert await sent.holder(SECRET, [1, 2]) is None


async def test_holder_is_the_subscription_that_got_the_secret(sent: V2SecretMarker) -> None:
    await sent.record(SECRET, 2)
    assert await sent.holder(SECRET, [1, 2, 3]) == 2
    assert await sent.holder(SECRET, [1, 3]) is None
    assert await sent.holder(OTHER, [1, 2, 3]) is None


async def test_only_the_last_subscription_is_the_holder(sent: V2SecretMarker) -> None:
    await sent.record(SECRET, 2)
    await sent.record(OTHER, 2)
    assert await sent.holder(SECRET, [2]) is None
    assert await sent.holder(OTHER, [2]) == 2
    await sent.forget()
    assert await sent.holder(OTHER, [2]) is None


async def test_marker_is_unknown_under_another_key(redis: Redis, sent: V2SecretMarker) -> None:
    await sent.record(SECRET, 2)
    assert await V2SecretMarker(redis, Cipher(new_key())).holder(SECRET, [2]) is None
    assert await V2SecretMarker(redis, Cipher(KEY, new_key())).holder(SECRET, [2]) == 2


async def test_marker_does_not_reveal_the_secret(redis: Redis, sent: V2SecretMarker) -> None:
    await sent.record(SECRET, 2)
    assert await redis.keys() == [KEYS.linq_v2.encode()]
    noted: bytes = await redis.get(KEYS.linq_v2)
    assert SECRET.whole not in noted
    assert len(bytes.fromhex(noted.decode())) == 32
    await sent.record(SECRET, 3)
    assert await redis.get(KEYS.linq_v2) != noted
