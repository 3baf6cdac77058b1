from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay.core.errors import SettingsError
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.fixed_keys import shard_prefix
from relay.store.keys import Keyspace
from relay.store.rights import check
from relay.store.rights.check import check_access, uses_of
from relay.store.rights.rules import RELAY_COMMANDS, relay_rule
from relay.store.sharding.shards import open_shards
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis


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
    monkeypatch.setattr(check, "_AUTHENTICATION_PAUSE", 0)


async def refusal(redis: Redis) -> str:
    with pytest.raises(SettingsError) as caught:
        await check_access(redis)
    return str(caught.value)


async def test_default_user_has_all_rights_and_the_check_writes_nothing(redis: Redis) -> None:
    await check_access(redis)
    assert await redis.keys() == []


async def test_rights_named_in_the_error_are_sufficient(redis: Redis, redis_url: str) -> None:
    async with user_with(redis, redis_url, *str(relay_rule(KEYS)).split()) as client:
        await check_access(client)


def test_every_command_of_the_rule_is_checked() -> None:
    checked = {"client|setname", "multi", "exec", "discard", "watch"}  # by the connection and the check itself
    for name, second, *_ in ((*use, "") for use in uses_of(KEYS)):
        both = f"{name}|{second}".lower()
        checked.add(both if both in RELAY_COMMANDS else name.lower())
    assert checked == set(RELAY_COMMANDS)


async def test_rights_are_checked_and_granted_on_every_shard(redis: Redis, redis_url: str) -> None:
    names = [KEYS, Keyspace(shard_prefix("relay", 1))]
    place = urlsplit(redis_url)
    for granted in (names[:1], names):
        async with (
            user_with(redis, redis_url, *str(relay_rule(*granted)).split()),
            open_shards(f"redis://relay:secret@127.0.0.1:{place.port}/0", REQUEST_TIMEOUT, count=2) as shards,
        ):
            if granted == names:
                await check_access(shards.home)
            else:
                text = await refusal(shards.home)
                assert "relay/1:inbox" in text
                assert f"ACL SETUSER relay {relay_rule(*names)}" in text


async def test_rights_to_the_keys_of_another_prefix_are_not_sufficient(redis: Redis, redis_url: str) -> None:
    async with user_with(redis, redis_url, *str(relay_rule(Keyspace("relay-2"))).split()) as client:
        assert "EVAL on relay:inbox" in await refusal(client)


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (("~*", "+@all", "-info"), "may not use INFO;"),
        (("~*", "+@all", "-@scripting"), "may not use EVAL, EVAL_RO, EVALSHA, EVALSHA_RO, SCRIPT LOAD;"),
        (("~relay:*", "+@all"), "GET on arq:job:relay:route"),
        (("~*", "+@all", "-xadd", "-hkeys"), "may not use HKEYS, XADD;"),
        (("~*", "+@all", "-multi"), "may not use MULTI;"),
        (("~*", "+@all", "-xgroup|destroy", "-memory"), "may not use MEMORY USAGE, XGROUP DESTROY;"),
        (("~*", "+@all", "-client"), "may not use CLIENT SETNAME;"),
        (("~*", "+@read"), "may not use "),
    ],
)
async def test_missing_rights_are_listed_with_the_granting_command(
    redis: Redis, redis_url: str, rights: tuple[str, ...], missing: str
) -> None:
    async with user_with(redis, redis_url, *rights) as client:
        text = await refusal(client)
    assert missing in text
    assert f"ACL SETUSER relay {relay_rule(KEYS)}" in text


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
