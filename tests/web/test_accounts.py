"""Webhooks of several accounts: each has secrets, claims and chats of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.secret import SigningSecret, new_secret
from relay.parts import open_keyring
from tests.building import LINE, SECRET, body_of, signed
from tests.conftest import NOW
from tests.support import KEYS, hash_of
from tests.web.conftest import inbox

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from relay.store.keyring.keyring import Keyring
    from tests.web.conftest import Running

SALES = SigningSecret(new_secret())
QUERY = "version=2026-02-03&line=16465550123&gen=1"


@pytest.fixture
async def sales(settings: Settings, redis: Redis) -> Keyring:
    """The secrets of the same line, and of none, in the account `sales`."""
    keyring = open_keyring(settings, redis, "sales")
    await keyring.store(LINE, 1, "sales-1", SALES, 0)
    await keyring.store(None, 1, "sales-2", SALES, 0)
    return keyring


@pytest.mark.parametrize(
    ("query", "secret", "status"),
    [
        (f"{QUERY}&account=sales", SALES, 200),
        (QUERY, SECRET, 200),
        (f"{QUERY}&account=sales", SECRET, 401),
        (QUERY, SALES, 401),
        (f"{QUERY}&account=other", SALES, 503),
        (f"{QUERY}&account=", SECRET, 503),
        ("gen=1&account=sales", SALES, 200),
        ("gen=1&account=sales/", SALES, 503),
        ("gen=1&account=sales/%2B16465550123", SALES, 503),
    ],
)
@pytest.mark.usefixtures("sales")
async def test_secret_verifies_at_urls_of_its_account_only(
    ingress: Running, redis: Redis, query: str, secret: SigningSecret, status: int
) -> None:
    body = body_of()
    assert (await ingress.post(body, signed(body, NOW, secret), query)).status == status
    accepted = [entry[b"dialect"] for entry in await inbox(redis)]
    assert accepted == ([b"v3/sales" if secret is SALES else b"v3"] if status == 200 else [])


@pytest.mark.usefixtures("sales")
async def test_account_cannot_suppress_an_event_of_another(ingress: Running, redis: Redis) -> None:
    guess, event = body_of(event_id="e1", text="guess"), body_of(event_id="e1", text="the event")
    for body, secret, query in (
        (guess, SALES, f"{QUERY}&account=sales"),
        (event, SECRET, QUERY),
        (event, SECRET, QUERY),
    ):
        assert (await ingress.post(body, signed(body, NOW, secret), query)).status == 200
    assert [entry[b"body"] for entry in await inbox(redis)] == [guess, event]
    assert await hash_of(redis, KEYS.counts) == {"accepted": "2", "duplicate": "1", "id_conflict": "1"}


async def test_records_without_an_account_are_as_before(settings: Settings, redis: Redis) -> None:
    keyring = open_keyring(settings, redis)
    await keyring.store(LINE, 1, "s-1", SECRET, 0)
    assert b"account" not in (await redis.hget(KEYS.keyring, "s-1") or b"")  # type: ignore[misc]
    (record,) = await keyring.records()
    assert (keyring.open(record).place, record.account) == (LINE, None)
