"""The probe of Redis tells a Redis that is away from one that refuses us, and sees when either is over."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.rights import probe as module
from relay.store.rights.probe import RedisProbe, RedisState
from relay.store.sharding.shards import open_shards

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


@pytest.fixture(autouse=True)
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask Redis at each call."""
    monkeypatch.setattr(module, "_MAX_AGE", 0)


async def test_redis_that_is_away_is_unreachable() -> None:
    redis = open_redis("redis://127.0.0.1:1/0", 1)
    probe = RedisProbe(redis)
    await probe.ask()
    assert probe.state is RedisState.UNREACHABLE
    assert "127.0.0.1:1" in probe.detail
    await redis.aclose()


async def test_missing_rights_and_a_wrong_password_are_named(redis: Redis, redis_url: str) -> None:
    user = {"enabled": True, "keys": ["*"]}
    await redis.acl_setuser("poor", passwords=["+secret"], commands=["+@all", "-xadd"], **user)  # type: ignore[arg-type]
    try:
        poor = open_redis(f"redis://poor:secret@127.0.0.1:{urlsplit(redis_url).port}/0", 1)
        probe = RedisProbe(poor)
        await probe.ask()
        assert probe.state is RedisState.REFUSED
        assert "may not use XADD" in probe.detail
        assert "ACL SETUSER poor" in probe.detail
        await redis.acl_setuser("poor", commands=["+@all"], **user)  # type: ignore[arg-type]
        await probe.ask()
        assert (probe.state, probe.detail) == (RedisState.OK, "ok")
        await poor.aclose()
        wrong = open_redis(f"redis://poor:hunter2@127.0.0.1:{urlsplit(redis_url).port}/0", 1)
        probe = RedisProbe(wrong)
        await probe.ask()
        assert probe.state is RedisState.REFUSED
        assert "hunter2" not in probe.detail
        await wrong.aclose()
    finally:
        await redis.acl_deluser("poor")


async def test_another_shard_that_answers_is_enough_for_an_ingress(redis_url: str) -> None:
    async with open_shards(redis_url, REQUEST_TIMEOUT, count=2) as shards:
        away = open_redis("redis://127.0.0.1:1/0", REQUEST_TIMEOUT)
        away.others = (open_redis("redis://127.0.0.1:1/0", REQUEST_TIMEOUT, "relay/1"),)
        probe = RedisProbe(away, any_shard=True)
        await probe.ask()
        assert probe.state is RedisState.UNREACHABLE
        away.others = shards.home.others
        strict, probe = RedisProbe(away), RedisProbe(away, any_shard=True)
        for each in (strict, probe):
            await each.ask()
        assert (strict.state, probe.state, probe.detail) == (RedisState.UNREACHABLE, RedisState.OK, "ok")
        await away.aclose()
