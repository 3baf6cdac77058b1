"""`relay audit`: every command that changes something is recorded before it does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.cli.operator import operator
from relay.store import audit
from relay.store.inbox.quarantine import Quarantine
from relay.store.lanes.lane import Lane
from tests.cli.dead.conftest import bury
from tests.cli.running import main_here
from tests.cli.test_subscriptions import RULES
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

QUARANTINED = {"at": 1, "dialect": "v3", "line": "", "reason": "not JSON", "body": "{"}
READABLE = QUARANTINED | {"body": '{"api_version":"v3","event_id":"e","event_type":"message.sent","created_at":"x"}'}
CHANGES = [
    ("dead drop 'a test' --subscription bot --all", "dead drop", "bot", 1, "a test"),
    ("dead replay --subscription bot --all --why again", "dead replay", "bot", 1, "again"),
    ("subscriptions pause bot --why deploy", "subscriptions pause", "bot", None, "deploy"),
    ("subscriptions resume bot --why done", "subscriptions resume", "bot", None, "done"),
    ("subscriptions drop former --yes --why gone", "subscriptions drop", "former", 1, "gone"),
    ("groups seek support/billing --to end --yes --why x", "groups seek", None, 1, "x"),
    ("replay --topic support --to bot --no-follow --why y", "replay", "support to bot", 1, "y"),
    ("topics drop former-topic --force --yes --why z", "topics drop", "former-topic", 1, "z"),
    ("quarantine drop 'not ours' --all", "quarantine drop", "quarantine", 1, "not ours"),
]


@pytest.fixture(autouse=True)
async def _everything_to_change(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    for name in ("bot", "crm", "former"):
        await Lane(redis, name, "support").ensure()
    await redis.xadd(KEYS.topic("support"), {"id": "e1", "type": "message.sent", "body": "{}"})
    await redis.xadd(KEYS.topic("former-topic"), {"id": "e1", "type": "message.sent", "body": "{}"})
    await redis.sadd(KEYS.topics, "former-topic")  # type: ignore[misc]
    await redis.xgroup_create(KEYS.topic("support"), "billing", "0")
    await redis.xadd(KEYS.quarantine, QUARANTINED)  # type: ignore[arg-type]
    await bury(redis, "bot", "e-1")


async def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) for key in await redis.keys()}


@pytest.mark.parametrize(("line", "command", "target", "count", "why"), CHANGES, ids=[row[1] for row in CHANGES])
async def test_change_is_recorded(line: str, command: str, target: str | None, count: int | None, why: str) -> None:
    assert (await main_here(*shlex.split(line))).code == 0
    [found] = (await main_here("audit", "--json")).json
    assert (found["who"], found["command"], found["count"], found["why"]) == (operator(), command, count, why)
    assert target is None or found["target"] == target
    shown = (await main_here("audit", "--utc", "--since", "1h")).out
    assert all(text in shown for text in (operator(), command, why, "+00:00"))


@pytest.mark.parametrize("line", [row[0] for row in CHANGES], ids=[row[1] for row in CHANGES])
async def test_change_that_cannot_be_recorded_is_not_made(redis: Redis, line: str) -> None:
    await redis.set(KEYS.audit, "not ours")
    before = await everything(redis)
    said = await main_here(*shlex.split(line))
    assert said.code == 1
    assert "nothing was changed, because it could not be recorded in relay:audit" in said.err
    assert await everything(redis) == before


async def test_retry_and_cancel_are_recorded(redis: Redis) -> None:
    await redis.xadd(KEYS.quarantine, READABLE)  # type: ignore[arg-type]
    assert len([body async for body in Quarantine(redis).all()]) == 2
    await main_here("quarantine", "retry", "--all", "--why", "upgraded")
    await main_here("replay", "--topic", "support", "--to", "bot", "--no-follow")
    [replay] = (await main_here("replay", "list", "--json")).json
    await main_here("replay", "cancel", replay["id"], "--why", "enough")
    found = [(row["command"], row["target"], row["why"]) for row in (await main_here("audit", "--json")).json]
    assert found == [
        ("replay cancel", replay["id"], "enough"),
        ("replay", "support to bot", ""),
        ("quarantine retry", "quarantine", "upgraded"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "dead drop no --all --dry-run",
        "dead drop no --id unknown",
        "dead replay --all --dry-run",
        "quarantine drop no --all --dry-run",
        "quarantine retry --all",
        "groups seek support/billing --to end --dry-run",
        "replay --topic support --to bot --dry-run",
        "subscriptions drop bot",
        "topics drop former-topic --dry-run",
    ],
)
async def test_command_that_changes_nothing_is_not_recorded(redis: Redis, line: str) -> None:
    await main_here(*line.split())
    assert not await redis.exists(KEYS.audit)
    assert (await main_here("audit")).out == "Nothing found.\n"


async def test_records_are_exported_and_chosen_by_author(redis: Redis) -> None:
    old = {"who": "ann@host", "command": "c", "target": "old", "count": "", "why": "é"}  # of an older version
    await redis.xadd(KEYS.audit, old)  # type: ignore[arg-type]
    for number in range(120):
        team = "crm" if number % 2 else None
        await audit.record(redis, f"user-{number % 3}", "c", str(number), source="10.0.0.7", team=team)
    said = await main_here("audit", "--export", "audit.jsonl")
    assert said.out == "audit.jsonl is written, with 121 records.\n"
    written = [json.loads(line) for line in Path("audit.jsonl").read_text().splitlines()]
    assert [row["target"] for row in written] == [*map(str, reversed(range(120))), "old"]
    assert (written[-1]["from"], written[-1]["team"], written[-1]["why"]) == ("cli", None, "é")
    assert (written[0]["from"], written[0]["team"]) == ("10.0.0.7", "crm")
    assert Path("audit.jsonl").stat().st_mode & 0o777 == 0o600
    again = await main_here("audit", "--export", "audit.jsonl")
    assert (again.code, again.err) == (1, "audit.jsonl exists already; name another file\n")
    chosen = await main_here("audit", "--export", "-", "--who", "user-1", "--team", "crm")
    assert {json.loads(line)["target"] for line in chosen.out.splitlines()} == {str(n) for n in range(1, 120, 6)}
    shown = (await main_here("audit", "--team", "crm", "--who", "user-1", "--limit", "1")).out
    assert "10.0.0.7" in shown
