"""Tokens in Redis: looked up in one round trip, whatever else is wrong with a key."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from relay.core.access.scopes import Scope
from relay.core.errors import StoreError
from relay.store.driver.client import Redis
from relay.store.teams.tokens import Token, find_valid, last_use, tokens
from tests.support import KEYS

NOW = 1_789_377_302_000


def token(**fields: object) -> Token:
    """Return a token that ends in a second."""
    given = {"id": "a", "label": "ci", "team": None, "scopes": [Scope.READ], "digest": "right", "created_ms": NOW}
    return Token.model_validate(given | {"created_by": "ann", "expires_ms": NOW + 1000} | fields)


@pytest.mark.parametrize(
    ("fields", "digest", "is_found"),
    [
        ({}, "right", True),
        ({}, None, True),
        ({}, "wrong", False),
        ({"revoked_ms": NOW - 1}, "right", False),
        ({"revoked_ms": NOW - 1}, None, False),
        ({"expires_ms": NOW}, "right", False),
        ({"expires_ms": None}, "right", True),
        ({"former_digest": "former", "former_until_ms": NOW + 1}, "former", True),
        ({"former_digest": "former", "former_until_ms": NOW}, "former", False),
        ({"team": "ops"}, "right", True),
    ],
)
async def test_only_a_valid_token_is_found_and_used(
    redis: Redis, fields: dict[str, object], digest: str | None, *, is_found: bool
) -> None:
    await tokens(redis).add("a", token(**fields))
    found = await find_valid(redis, "a", digest, "::1", NOW)
    assert (found is not None) == is_found
    assert (await last_use(redis, "a") is not None) == is_found


async def test_use_is_noted_when_redis_is_full(redis: Redis) -> None:
    await tokens(redis).add("a", token())
    await redis.config_set("maxmemory", "1mb")
    try:
        assert await find_valid(redis, "a", "right", "::1", NOW)
        assert await last_use(redis, "a") == (NOW, "::1")
    finally:
        await redis.config_set("maxmemory", "0")


@pytest.mark.parametrize("key", [KEYS.tokens, KEYS.teams, KEYS.tokens_used])
async def test_key_of_a_wrong_type_is_an_error(redis: Redis, key: str) -> None:
    await redis.set(key, "not ours")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await find_valid(redis, "a", "right", "::1", NOW)


async def test_change_starts_again_if_another_was_quicker(redis: Redis, redis_url: str) -> None:
    await tokens(redis).add("a", token(label="0"))
    other = Redis.from_url(redis_url)
    seen: list[str] = []

    def relabel(present: Token) -> Token:
        seen.append(present.label)
        return present.model_copy(update={"label": present.label + "1"})

    watched = type(redis).transaction

    async def overtaken(self: Redis, function: object, *keys: str) -> object:
        async def attempt(pipe: object) -> None:
            await function(pipe)  # type: ignore[operator]
            if len(seen) == 1:
                await tokens(other).change("a", lambda present: present.model_copy(update={"label": "other"}))

        return await watched(self, attempt, *keys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis, "transaction", overtaken.__get__(redis))
        changed = await tokens(redis).change("a", relabel)
    await other.aclose()
    assert changed is not None
    assert (seen, changed.label) == (["0", "other"], "other1")


async def test_damaged_record_is_named(redis: Redis) -> None:
    await redis.hset(KEYS.tokens, "a", "{}")  # type: ignore[misc]
    with pytest.raises(StoreError, match='the record "a" in relay:tokens cannot be read'):
        await tokens(redis).all()
    assert await find_valid(redis, "a", "right", "::1", NOW) is None
