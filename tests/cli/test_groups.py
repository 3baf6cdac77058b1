"""`relay groups`: the groups are shown; the effect of a move or a deletion is shown, and then it is done."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

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
    teams = '[[teams]]\nname = "billing"\ntopics = ["support"]\n'
    Path("relay.toml").write_text(f'[[topics]]\nname = "support"\nevents = ["*"]\n{teams}')
    await Lane(redis, "bot", "support").ensure()
    await redis.xgroup_create(STREAM, "billing", id="0")
    now = round(time.time() * 1000)
    made = [f"{now - (5 - n) * HOUR}-0" for n in range(5)]
    for n, entry in enumerate(made):
        await redis.xadd(STREAM, {"id": f"e{n}"}, id=entry)
    await redis.xreadgroup("billing", "host-1", {STREAM: ">"}, count=3)
    await redis.xack(STREAM, "billing", made[0])
    return made


async def seek(to: str, *arguments: str, group: str = "support/billing") -> Said:
    return await main_here("groups", "seek", group, "--to", to, *arguments)


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
        ("0", (3, "back"), ["e0", "e1", "e2", "e3", "e4"]),
        ("$", (2, "forwards"), []),
        ("270m", (2, "back"), ["e1", "e2", "e3", "e4"]),
        ("90m", (1, "forwards"), ["e4"]),
        ("end", (2, "forwards"), []),
        ("1s", (2, "forwards"), []),
    ],
)
async def test_group_moves_back_and_forward(redis: Redis, to: str, way: tuple[int, str], left: list[str]) -> None:
    said = await seek(to, "--yes", "--json")
    assert (said.code, said.json["moved"]) == (0, True)
    assert (said.json["events"], "back" if said.json["is_back"] else "forwards") == way
    assert await unread(redis) == left


async def test_group_moves_to_an_entry(redis: Redis, entries: list[str]) -> None:
    assert (await seek(entries[1], "--yes")).code == 0
    assert await unread(redis) == ["e1", "e2", "e3", "e4"]


async def test_effect_is_shown_first(redis: Redis, entries: list[str]) -> None:
    before = await stands(redis)
    said = await seek(entries[2], "--dry-run")
    assert said.code == 0
    assert f"({entries[2]})" in said.out
    assert "It would read 1 event again" in said.out
    assert "host-1" in said.out
    assert "no longer stored" not in said.out
    said = await seek("end", "--dry-run")
    assert "It would skip 2 events: its next event is the next one that is routed." in said.out
    assert await stands(redis) == before


async def test_trimmed_events_are_reported(redis: Redis) -> None:
    await redis.xtrim(STREAM, maxlen=4, approximate=False)
    for to, is_gone in (("start", True), ("9h", True), ("150m", False), ("end", False)):
        assert ("are no longer stored" in (await seek(to, "--dry-run")).out) == is_gone


async def test_move_without_a_terminal_needs_yes(redis: Redis) -> None:
    before = await stands(redis)
    said = await seek("start")
    assert said.code == 2
    assert "--yes is needed to confirm" in said.err
    assert await stands(redis) == before


@pytest.mark.parametrize(("answer", "left"), [("y", ["e0", "e1", "e2", "e3", "e4"]), ("n", ["e3", "e4"])])
async def test_operator_is_asked(redis: Redis, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer + "\n"))
    said = await seek("start")
    assert "Move the group? [y/N]" in said.out
    assert said.code == (0 if answer == "y" else 1)
    assert await unread(redis) == left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_current_position_asks_nothing() -> None:
    said = await seek("150m")
    assert (said.code, said.out) == (0, "billing is already at this position.\n")


@pytest.mark.parametrize(
    ("to", "more", "message"),
    [
        ("start", {"group": "nothing/billing"}, 'no topic "nothing" (known: support)'),
        ("start", {"group": "support/unknown"}, 'topic "support" has no group "unknown" (pull groups: billing)'),
        ("start", {"group": "support/push:bot"}, "sends it events again; relay replay --topic support --to bot"),
        ("start", {"group": "support/bot"}, "bot is a push subscription"),
        ("start", {"group": "billing"}, '"billing" is not a topic and a group, such as support/billing'),
        ("9000000000000-0", {}, "ends before that entry"),
        ("2999-01-01", {}, "is in the future"),
        ("yesterday", {}, "is not a time"),
    ],
)
async def test_impossible_move_is_one_sentence(redis: Redis, to: str, more: dict[str, str], message: str) -> None:
    before = await stands(redis)
    said = await seek(to, "--yes", **more)
    assert said.is_one_message_without_traceback()
    assert message in " ".join(said.err.replace("│", " ").split())
    assert await stands(redis) == before


async def test_topic_without_events(redis: Redis) -> None:
    await redis.delete(STREAM)
    assert 'has no group "billing" (pull groups: none)' in (await seek("start", "--yes")).err


async def bury(redis: Redis, *names: str, group: str = "billing") -> list[str]:
    """Let members of a group give events up."""
    made = []
    for name in names:
        [(entry, fields)] = [row for row in await redis.xrange(STREAM) if row[1][b"id"] == name.encode()]
        more: dict[Any, Any] = {
            "type": "message.received",
            "body": "{}",
            "dead_entry": entry,
            "dead_at": "1789377302417",
        }
        more |= {"dead_reason": "rejected", "dead_error": f"no {name}", "dead_deliveries": "2", "dead_member": "host-1"}
        letter: dict[Any, Any] = {**fields, **more}
        made.append((await redis.xadd(KEYS.group_dead("support", group), letter)).decode())
        await redis.xack(STREAM, group, entry)
    return made


async def test_groups_are_listed_with_their_lag_and_misspelt_topics(redis: Redis, entries: list[str]) -> None:
    await bury(redis, "e1")
    await redis.xgroup_create(KEYS.topic("suport"), "billing.typo", id="0", mkstream=True)
    await redis.set(KEYS.topic("text"), "x")
    said = await main_here("groups", "list", "--json")
    billing, ghost = said.json
    assert (billing["topic"], billing["name"], billing["team"], billing["lag"], billing["pending"]) == (
        *("support", "billing", "billing", 2, 1),
    )
    assert (billing["unread_since_ms"], billing["dead"], billing["is_topic_known"]) == (
        *(int(entries[3].removesuffix("-0")), 1, True),
    )
    assert [(each["name"], each["kind"], each["pending"]) for each in billing["members"]] == [("host-1", "redis", 1)]
    assert (ghost["topic"], ghost["is_topic_known"], ghost["nearest_topic"]) == ("suport", False, "support")
    await redis.xgroup_delconsumer(STREAM, "billing", "host-1")
    out = (await main_here("groups", "list")).out
    assert "support/billing is not read" in out
    assert 'suport/billing.typo reads a topic that the relay does not have. Did they mean "support"?' in out
    assert max(map(len, out.splitlines()[:4])) <= 80
    topics = (await main_here("topics", "--json")).json
    assert [(each["name"], each["state"], each.get("nearest")) for each in topics] == [
        ("support", "active", None),
        ("suport", "unknown", "support"),
    ]
    assert (await main_here("topics", "drop", "suport", "--yes")).code == 0
    assert [each["topic"] for each in (await main_here("groups", "list", "--json")).json] == ["support"]


async def test_one_group_is_shown_with_its_members(redis: Redis, entries: list[str]) -> None:
    await redis.xclaim(STREAM, "billing", "relay:http:1000:web", 0, [entries[2]], idle=5000, retrycount=4, justid=True)
    said = await main_here("groups", "show", "support/billing", "--json")
    assert {each["name"]: each["kind"] for each in said.json["members"]} == {
        "host-1": "redis",
        "relay:http:1000:web": "http",
    }
    assert said.json["oldest_pending"]["entry"] == entries[1]
    await redis.xack(STREAM, "billing", entries[1])
    out = (await main_here("groups", "show", "support/billing")).out
    assert f"{entries[2]}, delivered 4 times" in out
    assert "relay:http:1000:web, for 5s" in out


async def test_deletion_asks_to_keep_or_drop_dead_letters(redis: Redis) -> None:
    await redis.hset(KEYS.places("support"), "billing", "1-0")  # type: ignore[misc]
    await bury(redis, "e1")
    delete = ("groups", "delete", "support/billing", "no longer used")
    said = await main_here(*delete, "--yes")
    assert (said.code, "support/billing has 1 dead letter; choose keep or drop" in " ".join(said.err.split())) == (
        2,
        True,
    )
    said = await main_here(*delete, "--dry-run")
    assert said.out.startswith(
        "support/billing has 2 unread events, 1 pending, and 1 dead letter.\nIt is being read by"
    )
    said = await main_here(*delete, "--yes", "--dead", "keep", "--json")
    expected = {"deleted": True, "dead_letters": "keep", "unread": 2, "pending": 1, "dead": 1}
    assert said.json == {"topic": "support", "group": "billing", **expected}
    assert await redis.hlen(KEYS.places("support")) == 0  # type: ignore[misc]
    await redis.sadd(KEYS.topics, "support")  # type: ignore[misc]
    assert "The pull group support/billing has 1 as well" in (await main_here("dead", "list")).err
    said = await main_here("dead", "replay", "--group", "support/billing", "--all")
    assert (said.code, "support/billing was deleted or lost" in said.err) == (1, True)
    await redis.xgroup_create(STREAM, "billing", id="0")
    assert (await main_here(*delete, "--yes", "--dead", "drop")).out.endswith("its dead letters are dropped.\n")
    assert await redis.exists(KEYS.group_dead("support", "billing")) == 0
    assert (await main_here("dead", "list", "--group", "support/billing")).code == 1


async def test_dead_letters_of_a_group_are_shown_and_given_back(redis: Redis, entries: list[str]) -> None:
    await bury(redis, "e1", "e2")
    await redis.xdel(STREAM, entries[2])
    of_group = ("--group", "support/billing")
    listed = (await main_here("dead", "list", *of_group, "--json")).json
    assert [(each["id"], each["error"], each["entry"]) for each in listed] == [
        (f"e{n}", f"no e{n}", entries[n]) for n in (1, 2)
    ]
    assert "rejected: no e1" in (await main_here("dead", "list", *of_group)).out
    shown = (await main_here("dead", "show", *of_group, "--json")).json
    assert [(each["is_replayable"], each["body"]) for each in shown] == [(True, "{}"), (False, "{}")]
    assert (await main_here("dead", "show", *of_group, "--id", "none")).code == 1
    expected = {"groups": {"support/billing": 1}, "gone": [listed[1]["letter"]]}
    said = await main_here("dead", "replay", *of_group, "--all", "--dry-run", "--json")
    assert said.json == {"dry_run": True, "would_replay": 1, **expected}
    said = await main_here("dead", "replay", *of_group, "--all")
    assert "support/billing: 1 given back" in said.out
    assert "1 dead letter cannot be given back: the topic no longer has" in said.out
    [row] = await redis.xpending_range(STREAM, "billing", "-", "+", 9)
    assert (row["message_id"].decode(), row["consumer"]) == (entries[1], b"relay:returned")
    assert (await main_here("dead", "replay", *of_group, "--id", "none")).code == 1
    with capture_logs() as logs:
        assert (await main_here("dead", "drop", "x", *of_group, "--id", "e2", "--json")).json["dropped"] == 1
    assert [(line["event"], line["group"], line["why"]) for line in logs] == [("dead.dropped", "billing", "x")]
    assert (await main_here("dead", "list", *of_group, "--subscription", "bot")).code == 2
