"""`relay ledger`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store.lanes.lane import Lane
from tests.cli.running import invoke_beside, main_here
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

EMPTY = {
    "accepted": 0,
    "duplicate": 0,
    "quarantined": 0,
    "routed": 0,
    "unmatched": 0,
    "inbox": 0,
    "poisoned": 0,
    "lost": 0,
    "quarantine_dropped": 0,
}


@pytest.fixture
async def books(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """Five events: four routed to one subscription and one that no topic wanted."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    counts = {"accepted": 5, "duplicate": 2, "quarantined": 1, "routed": 4, "unmatched": 1}
    await redis.hset(KEYS.counts, mapping=counts)  # type: ignore[misc]
    await redis.hset(KEYS.unmatched, "call.ended", "1")  # type: ignore[misc]
    await redis.hset(KEYS.refused, "too_large", "3")  # type: ignore[misc]
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    entries = [await redis.xadd(KEYS.topic("support"), {"id": f"e-{n}", "body": "{}"}) for n in range(4)]
    await lane.read_new(3)
    await redis.xack(KEYS.topic("support"), lane.group, entries[0])
    await redis.zadd(KEYS.lane("bot", "retries"), {f"{KEYS.topic('support')}|{entries[1].decode()}": 9e12})
    await redis.hset(KEYS.lane("bot"), mapping={"delivered": 1})  # type: ignore[misc]
    return redis


async def test_empty_ledger_balances(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    said = await invoke_beside("ledger", "--json")
    assert said.code == 0
    assert said.json == {"balances": True, "totals": EMPTY, "unmatched": {}, "refused": {}, "subscriptions": []}


@pytest.mark.usefixtures("books")
async def test_ledger_shows_where_every_event_is() -> None:
    said = await invoke_beside("ledger", "--json")
    assert said.code == 0
    assert said.json == {
        "balances": True,
        "totals": {
            "accepted": 5,
            "duplicate": 2,
            "quarantined": 1,
            "routed": 4,
            "unmatched": 1,
            "inbox": 0,
            "poisoned": 0,
            "lost": 0,
            "quarantine_dropped": 0,
        },
        "unmatched": {"call.ended": 1},
        "refused": {"too_large": 3},
        "subscriptions": [
            {
                "subscription": "bot",
                "routed": 4,
                "delivered": 1,
                "waiting": 2,
                "retrying": 1,
                "dead": 0,
                "replayed": 0,
                "filtered": 0,
                "dropped": 0,
                "discarded": 0,
                "repeated": 0,
                "lost": 0,
                "from_history": 0,
                "shadow_of": None,
                "fault": "",
                "balances": True,
            }
        ],
    }


@pytest.mark.usefixtures("books")
async def test_ledger_is_shown_as_tables() -> None:
    said = await invoke_beside("ledger")
    assert said.code == 0
    for text in ("All webhooks", "call.ended", "too_large", "bot", "The ledger balances."):
        assert text in said.out


async def test_both_kinds_of_replays_are_told_apart(books: Redis) -> None:
    assert "replayed" not in (await invoke_beside("ledger")).out
    await books.hincrby(KEYS.lane("bot"), "replayed", 5)  # type: ignore[misc]
    await books.hincrby(KEYS.lane("bot"), "from_history", 2)  # type: ignore[misc]
    lines = (await invoke_beside("ledger")).out.splitlines()
    [heading] = [line.split() for line in lines if line.startswith("subscription")]
    [row] = [line.split() for line in lines if line.startswith("bot")]
    shown = dict(zip(heading, row, strict=True))
    assert (shown["replayed"], shown["history"]) == ("3", "2")
    assert "replayed: dead letters that were sent again (counted in routed already)" in lines


@pytest.mark.parametrize(
    ("key", "field"), [(KEYS.lane("bot"), "delivered"), (KEYS.counts, "accepted")], ids=["lane", "totals"]
)
async def test_unbalanced_ledger_is_exit_code_1(books: Redis, key: str, field: str) -> None:
    await books.hincrby(key, field, 1)  # type: ignore[misc]
    said = await invoke_beside("ledger", "--json")
    assert (said.code, said.json["balances"]) == (1, False)
    text = await invoke_beside("ledger")
    assert text.code == 1
    assert "The ledger does not balance." in text.out


async def test_missing_redis_url_is_exit_code_2() -> None:
    said = await main_here("ledger")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert "REDIS_URL" in said.err
