from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay.core.errors import SettingsError
from relay.store.driver import access
from relay.store.driver.access import ACL, check_access
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis


@asynccontextmanager
async def user_with(redis: Redis, url: str, *rights: str) -> AsyncIterator[Redis]:
    """Open a client of a user with these rights, in the syntax of ACL SETUSER."""
    await redis.execute_command("ACL", "SETUSER", "relay", "reset", "on", ">secret", *rights)  # type: ignore[no-untyped-call]
    place = urlsplit(url)
    try:
        async with open_redis(f"redis://relay:secret@127.0.0.1:{place.port}/0", REQUEST_TIMEOUT) as client:
            yield client
    finally:
        await redis.acl_deluser("relay")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_AUTHENTICATION_PAUSE", 0)


async def refusal(redis: Redis) -> str:
    with pytest.raises(SettingsError) as caught:
        await check_access(redis)
    return str(caught.value)


async def test_default_user_has_all_rights_and_the_check_writes_nothing(redis: Redis) -> None:
    await check_access(redis)
    assert await redis.keys() == []


async def test_rights_named_in_the_error_are_sufficient(redis: Redis, redis_url: str) -> None:
    rights = ACL.split(">PASSWORD ")[1].split()
    async with user_with(redis, redis_url, *rights) as client:
        await check_access(client)


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (("~*", "+@all", "-info"), "may not use INFO;"),
        (("~*", "+@all", "-@scripting"), "may not use EVALSHA, EVAL;"),
        (("~relay:*", "+@all"), "GET on arq:job:relay:route"),
        (("~*", "+@all", "-xadd", "-zadd"), "may not use ZADD, XADD;"),
        (("~*", "+@read"), "may not use "),
    ],
)
async def test_missing_rights_are_listed_with_the_granting_command(
    redis: Redis, redis_url: str, rights: tuple[str, ...], missing: str
) -> None:
    async with user_with(redis, redis_url, *rights) as client:
        text = await refusal(client)
    assert missing in text
    assert "ACL SETUSER relay on >PASSWORD" in text


async def test_error_for_wrong_credentials_hides_the_password(redis: Redis, redis_url: str) -> None:
    port = urlsplit(redis_url).port
    async with open_redis(f"redis://:hunter2@127.0.0.1:{port}/0", REQUEST_TIMEOUT) as client:
        text = await refusal(client)
    assert "user name or password is wrong" in text
    assert "hunter2" not in text
    assert await redis.ping()


async def test_access_check_ignores_an_unreachable_redis() -> None:
    async with open_redis("redis://127.0.0.1:1/0", REQUEST_TIMEOUT) as nowhere:
        await check_access(nowhere)
