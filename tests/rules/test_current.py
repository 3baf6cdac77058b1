"""The rules for parts that only look, read from relay.toml and Redis at each use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config.settings import Settings
from relay.rules.current import Rules
from relay.store.teams.teams import StoredTeam, stored_teams
from tests.rules.storing import RULES, record_of, store
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis


async def test_team_that_was_read_while_the_subscriptions_were_not_readable_is_in_force(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(RULES)
    rules = Rules(Settings(redis_url=redis_url, relay_config=path), redis)
    await store(redis, record_of("crm"))
    assert (await rules.view()).teams == {}
    await redis.rename(KEYS.subscriptions, "elsewhere")
    await redis.set(KEYS.subscriptions, "overwritten")
    await redis.set(KEYS.subscriptions_revision, "another")
    team = StoredTeam(name="sales", topics=("messages",), created_ms=0, created_by="test")
    await stored_teams(redis).add("sales", team)
    await rules.view()
    await redis.rename("elsewhere", KEYS.subscriptions)
    assert list((await rules.view()).teams) == ["sales"]
