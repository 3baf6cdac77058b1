"""`relay event`, `relay events search`, `relay topics tail` and `relay replay --id`."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.delivery.outcome import Attempt, Outcome, RetryAt
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from tests.cli.attempting import BAD, remember
from tests.cli.running import ended, invoke_beside, line_with, main_here, relay_process
from tests.services.topics.history.conftest import put
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

T = 1_789_377_302_000
"""2026-09-14 09:15:02 UTC."""
FAILED = Attempt(Outcome.FAILED, at_ms=T, took_ms=1, status=500)
LINE = "+16465550123"
RULES = """
[[topics]]
name = "support"
events = ["message.*"]

[[topics]]
name = "calls"
events = ["call.*"]

[[subscriptions]]
name = "bot"
topic = "support"
url = "http://127.0.0.1:9/"
secret = "env:S"
"""
STORY = """\
Event e-1
  type        message.received
  line        +16465550123 (proved by the URL)
  chat        c1
  message     m-1, inbound, RCS
  accepted    2026-09-14 09:15:02+00:00, from 203.0.113.7
  url         /webhooks/linq?version=2026-02-03&line=16465550123&gen=2
  secret      generation 2
  body        105 bytes, version 2026-02-03

Topics
  support     routed 2026-09-14 09:15:02+00:00  1789377302000-0
  calls       no: type message.received matches none of call.*

Push subscriptions
  bot of support: waiting
    * the subscription is paused: maintenance
      1  2026-09-14 09:15:02+00:00  failed       500  31ms
         no room

Pull groups
  billing of support  delivered to m1 0s ago, not acknowledged

Chat c1
  previous    none found
  next        e-2  message.received

Repeats are not known any more: they are remembered for 6h.
"""


@pytest.fixture(autouse=True)
async def _events(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two events of a topic, of which a subscription has tried the first."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    await Lane(redis, "bot", "support").ensure()
    more = {"message": "m-1", "direction": "inbound", "service": "RCS", "via": "url 2 203.0.113.7"}
    entry = await put(redis, "support", "e-1", T, **more)
    await put(redis, "support", "e-2", T + 1000, handle="ann@example.com")
    await remember(redis, "bot", BAD._replace(at_ms=T, entry=entry, outcome=Outcome.FAILED), "no  room\n")
    await redis.hset(KEYS.paused, "bot", '{"at_ms": 1, "reason": "maintenance"}')  # type: ignore[misc]
    await redis.xgroup_create(KEYS.topic("support"), "billing", "0")
    await redis.xreadgroup("billing", "m1", {KEYS.topic("support"): ">"}, count=1)


async def test_overdue_attempt_is_shown_as_due(redis: Redis) -> None:
    lane = Lane(redis, "bot", "support")
    await redis.set(KEYS.lease("job"), "me")
    async with Settler(redis, "job", "me") as settler:
        [delivery] = await lane.read_new(1)
        tries = Tries(1, T, FAILED.outcome)
        await settler.settle(Settlement(lane, delivery, FAILED, tries, RetryAt(T + 5000), FAILED.ended_ms))
    await redis.xgroup_destroy(KEYS.topic("support"), "billing")
    said = (await invoke_beside("event", "e-1", "--utc")).out
    assert "bot of support: retrying, next attempt due 2026-09-14 09:15:07+00:00" in said
    assert "Pull groups\n  none\n" in said


async def test_story_is_told_for_people_and_as_json() -> None:
    said = await invoke_beside("event", "e-1", "--utc")
    lines = re.sub(r"delivered to m1 \S+ ago", "delivered to m1 0s ago", said.out)
    assert lines == STORY
    found = (await invoke_beside("event", "e-1", "--json")).json
    assert (found["id"], found["received"]["line_proof"], found["received"]["repeats"]) == ("e-1", "url", None)
    assert [(part["topic"], part["entry"]) for part in found["topics"]] == [("support", f"{T}-0"), ("calls", None)]
    [bot] = found["push"]
    assert (bot["state"], bot["attempts"][0]["detail"]) == ("waiting", "no  room\n")
    assert found["pull"][0] | {"idle_ms": 0} == {
        "group": "billing",
        "topic": "support",
        "state": "delivered",
        "member": "m1",
        "idle_ms": 0,
        "deliveries": 1,
        "reason": None,
    }
    assert (found["previous"], found["next"]["id"]) == (None, "e-2")


async def test_body_is_shown_when_asked_and_hidden_by_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "+13035550188" in (await invoke_beside("event", "e-1", "--body")).out
    assert "+13035550188" not in (await invoke_beside("event", "e-1")).out
    monkeypatch.setenv("RELAY_HIDE_BODIES", "true")
    hidden = await invoke_beside("event", "e-1", "--body")
    assert "105 bytes, hidden by RELAY_HIDE_BODIES" in hidden.out
    assert (await invoke_beside("event", "e-1", "--json")).json["body"] == {"size": 105, "text": None}


async def test_unknown_event_is_one_error_line() -> None:
    said = await main_here("event", "none")
    assert said.is_one_message_without_traceback()
    assert (said.code, said.err.count("\n")) == (1, 1)


async def test_search_finds_a_person_and_says_how_far_it_came() -> None:
    said = await invoke_beside("events", "search", "--handle", "Ann@Example.com", "--utc")
    assert "2026-09-14 09:15:03+00:00  e-2  message.received" in said.out
    assert said.out.endswith("All 2 events of the period were searched.\n")
    first = (await invoke_beside("events", "search", "--chat", "c1", "--limit", "1", "--json")).json
    assert [event["id"] for event in first["events"]] == ["e-2"]
    rest = (await invoke_beside("events", "search", "--chat", "c1", "--cursor", first["cursor"], "--json")).json
    assert [event["id"] for event in rest["events"]] == ["e-1"]
    assert (rest["cursor"], rest["searched_to_at"]) == (None, None)
    limited = await invoke_beside("events", "search", "--limit", "1", "--utc")
    assert f"continue with --cursor {first['cursor']}" in limited.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--handle", "555"), '--handle: "555" is neither a phone number'),
        (("--cursor", "x"), "--cursor: it is not one that a search returned"),
        (("--limit", "501"), "--limit: it must be from 1 to 500"),
        (("--line", "1"), "--line"),
    ],
)
async def test_wrong_option_of_a_search_is_named(arguments: tuple[str, str], problem: str) -> None:
    said = await main_here("events", "search", *arguments)
    assert said.code == 2
    assert problem in " ".join(said.err.replace("│", " ").split())


async def test_one_event_is_sent_again(redis: Redis) -> None:
    said = await invoke_beside("replay", "--id", "e-1", "--to", "bot", "--why", "lost")
    assert said.out == (
        "Event e-1 of support is queued for bot.\nIt waits: the subscription is paused: maintenance.\n"
        "relay event e-1 shows what happens to it.\n"
    )
    [(entry, fields)] = await redis.xrange(KEYS.lane("bot", "replay"))
    assert (fields[b"id"], fields[b"dead_topic"]) == (b"e-1", b"support")
    again: Any = (await invoke_beside("replay", "--id", "e-1", "--to", "bot", "--json")).json
    assert (again["entry"], again["replay"] > entry.decode()) == (f"{T}-0", True)
    for arguments in (("--id", "e-1"), ("--id", "e-1", "--to", "bot", "--since", "1h")):
        assert (await main_here("replay", *arguments)).code == 2


async def test_tail_shows_events_until_it_is_interrupted(redis: Redis) -> None:
    arguments = ("topics", "tail", "support", "--handle", "+13035550188", "--since", "2026-09-14", "--json")
    async with relay_process(*arguments) as process:
        assert json.loads(await line_with("e-1", process.stdout))["topics"][0]["topic"] == "support"
        await put(redis, "support", "e-3", round(time.time() * 1000))
        assert json.loads(await line_with("e-3", process.stdout))["id"] == "e-3"
        process.send_signal(signal.SIGINT)
        rest = await ended(process)
    assert (rest.code, rest.out, rest.err) == (130, "", "")


async def test_bodies_of_dead_letters_and_quarantine_are_hidden(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    await redis.sadd(KEYS.lanes, "bot")  # type: ignore[misc]
    await redis.xadd(KEYS.lane("bot", "dead"), {"id": "e-1", "body": "private", "dead_topic": "support"})
    await redis.xadd(KEYS.quarantine, {"at": 1, "dialect": "v3", "line": "", "reason": "not JSON", "body": "private"})
    for hides in (False, True):
        monkeypatch.setenv("RELAY_HIDE_BODIES", str(hides).lower())
        for group in ("dead", "quarantine"):
            for form in ((), ("--json",)):
                text = (await invoke_beside(group, "show", *form)).out
                assert ("private" in text, "7 bytes, hidden by RELAY_HIDE_BODIES" in text) == (not hides, hides)
