"""`relay rewind`: the effect of a move is shown, and then it is done."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.store.lanes.lane import Lane
from tests.cli.running import Said, main_here
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
HOUR = 3600 * 1000


@pytest.fixture(autouse=True)
async def entries(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Five events, an hour after the other, up to an hour ago; billing has read three and acknowledged one."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text('[[topics]]\nname = "support"\nevents = ["*"]\n')
    await Lane(redis, "bot", "support").ensure()
    await redis.xgroup_create(STREAM, "billing", id="0")
    now = round(time.time() * 1000)
    made = [f"{now - (5 - n) * HOUR}-0" for n in range(5)]
    for n, entry in enumerate(made):
        await redis.xadd(STREAM, {"id": f"e{n}"}, id=entry)
    await redis.xreadgroup("billing", "host-1", {STREAM: ">"}, count=3)
    await redis.xack(STREAM, "billing", made[0])
    return made


async def rewind(to: str, *arguments: str, topic: str = "support", group: str = "billing") -> Said:
    return await main_here("rewind", "--topic", topic, "--group", group, "--to", to, *arguments)


async def stands(redis: Redis) -> str:
    groups: list[dict[str, Any]] = await redis.xinfo_groups(STREAM)
    (entry,) = [group["last-delivered-id"].decode() for group in groups if group["name"] == b"billing"]
    return str(entry)


async def unread(redis: Redis) -> list[str]:
    answer = await redis.xreadgroup("billing", "host-2", {STREAM: ">"})
    return [fields[b"id"].decode() for _, fields in answer[0][1]] if answer else []


@pytest.mark.parametrize(
    ("to", "way", "left"),
    [
        ("start", (3, "back"), ["e0", "e1", "e2", "e3", "e4"]),
        ("270m", (2, "back"), ["e1", "e2", "e3", "e4"]),
        ("90m", (1, "forwards"), ["e4"]),
        ("end", (2, "forwards"), []),
        ("1s", (2, "forwards"), []),
    ],
)
async def test_group_moves_back_and_forward(redis: Redis, to: str, way: tuple[int, str], left: list[str]) -> None:
    said = await rewind(to, "--yes", "--json")
    assert (said.code, said.json["moved"]) == (0, True)
    assert (said.json["events"], "back" if said.json["is_back"] else "forwards") == way
    assert await unread(redis) == left


async def test_group_moves_to_an_entry(redis: Redis, entries: list[str]) -> None:
    assert (await rewind(entries[1], "--yes")).code == 0
    assert await unread(redis) == ["e1", "e2", "e3", "e4"]


async def test_effect_is_shown_first(redis: Redis, entries: list[str]) -> None:
    before = await stands(redis)
    said = await rewind(entries[2], "--dry-run")
    assert said.code == 0
    assert f"({entries[2]})" in said.out
    assert "It would read 1 event again" in said.out
    assert "host-1" in said.out
    assert "no longer stored" not in said.out
    said = await rewind("end", "--dry-run")
    assert "It would skip 2 events: its next event is the next one that is routed." in said.out
    assert await stands(redis) == before


async def test_trimmed_events_are_reported(redis: Redis) -> None:
    await redis.xtrim(STREAM, maxlen=4, approximate=False)
    for to, is_gone in (("start", True), ("9h", True), ("150m", False), ("end", False)):
        assert ("are no longer stored" in (await rewind(to, "--dry-run")).out) == is_gone


async def test_move_without_a_terminal_needs_yes(redis: Redis) -> None:
    before = await stands(redis)
    said = await rewind("start")
    assert said.code == 2
    assert "--yes is needed to confirm" in said.err
    assert await stands(redis) == before


@pytest.mark.parametrize(("answer", "left"), [("y", ["e0", "e1", "e2", "e3", "e4"]), ("n", ["e3", "e4"])])
async def test_operator_is_asked(redis: Redis, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer + "\n"))
    said = await rewind("start")
    assert "Move the group? [y/N]" in said.out
    assert said.code == (0 if answer == "y" else 1)
    assert await unread(redis) == left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_current_position_asks_nothing() -> None:
    said = await rewind("150m")
    assert (said.code, said.out) == (0, "billing is already at this position.\n")


@pytest.mark.parametrize(
    ("to", "more", "message"),
    [
        ("start", {"topic": "nothing"}, 'no topic "nothing" (known: support)'),
        ("start", {"group": "unknown"}, 'topic "support" has no group "unknown" (pull groups: billing)'),
        ("start", {"group": "push:bot"}, "sends it events again; relay replay --topic support --to bot"),
        ("start", {"group": "bot"}, "bot is a push subscription"),
        ("9000000000000-0", {}, "ends before that entry"),
        ("2999-01-01", {}, "is in the future"),
        ("yesterday", {}, "is not a time"),
    ],
)
async def test_impossible_move_is_one_sentence(redis: Redis, to: str, more: dict[str, str], message: str) -> None:
    before = await stands(redis)
    said = await rewind(to, "--yes", **more)
    assert said.is_one_message_without_traceback()
    assert message in " ".join(said.err.replace("│", " ").split())
    assert await stands(redis) == before


async def test_topic_without_events(redis: Redis) -> None:
    await redis.delete(STREAM)
    assert 'has no group "billing" (pull groups: none)' in (await rewind("start", "--yes")).err
