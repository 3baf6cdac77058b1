"""`relay contracts` and `relay fixtures`: what was learned, and payloads that a team commits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.contracts.facts import FACTS, Pair, Tally
from relay.core.errors import NotFound
from relay.sandbox.payloads import NEW, Scenario, data_of, envelope
from relay.store.audit import records
from relay.store.contracts.contracts import Contracts, Known
from tests.building import LINE
from tests.cli.running import Said, invoke_beside
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

TYPE = "message.received"
RULES = '[[topics]]\nname = "support"\nevents = ["*"]\n'


@pytest.fixture
async def store(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    return redis


def body_of(event_type: str = TYPE, *, moved: bool = False) -> bytes:
    """Return the body of a new event; of one that was `moved`, the chat is where the relay does not look."""
    scenario = Scenario(line=LINE)
    data = data_of(event_type, scenario, NEW)
    if moved:
        data["conversation"] = data.pop("chat")
    return envelope(event_type, scenario.message_id, data, NEW, scenario.occurred_at)


async def routed(redis: Redis, *bodies: bytes) -> None:
    """Add events to the topic, as the router does."""
    await redis.sadd(KEYS.topics, "support")  # type: ignore[misc]
    for body in bodies:
        event = json.loads(body)
        fields: dict[Any, Any] = {"id": event["event_id"], "type": event["event_type"], "line": LINE, "chat": "c"}
        await redis.xadd(KEYS.topic("support"), {**fields, "at": 1, "version": NEW, "body": body})


async def learned(redis: Redis, events: int, *facts: str, version: str = NEW) -> None:
    """Count events with only these facts."""
    tally = Tally(events, {fact: events * (fact in facts) for fact in FACTS})
    tally.bodies[frozenset(facts)] = body_of(moved="chat" not in facts)
    known = Known(frozenset({TYPE}), frozenset({NEW, "v2"}))
    await Contracts(redis).add({Pair(TYPE, version): tally}, known, round(time.time() * 1000))


async def relay(*words: str) -> Said:
    return await invoke_beside(*words)


async def test_lost_fact_is_listed_shown_and_accepted(store: Redis) -> None:
    await learned(store, 60, *FACTS)
    assert (await relay("contracts", "list")).code == 0
    await learned(store, 20, "message", "direction", "service")
    said = await relay("contracts", "list", "--json")
    assert said.code == 1
    assert [change["what"] for change in said.json[0]["changes"]] == ["lost_chat", "lost_line"]
    assert said.json[0]["events"] == 80

    shown = await relay("contracts", "show", TYPE)
    assert "  data.chat: removed, was object" in shown.out
    assert "  data.conversation: added, object" in shown.out
    assert LINE not in shown.out
    with pytest.raises(NotFound, match=r"message\.nothing"):
        await relay("contracts", "show", "message.nothing")

    assert "2 changes of message.received accepted" in (await relay("contracts", "accept", TYPE, "--why", "known")).out
    assert (await relay("contracts", "list")).code == 0
    assert [(each.command, each.target, each.why) async for each in records(store)] == [
        ("contracts accept", TYPE, "known")
    ]


async def test_recorded_fixtures_are_stable_and_have_no_differences(store: Redis, tmp_path: Path) -> None:
    out = str(tmp_path / "fixtures")
    await routed(store, *(body_of(each) for each in (TYPE, TYPE, "message.read", "reaction.added")))
    said = await relay("fixtures", "record", "--topic", "support", "--out", out, "--json")
    assert said.code == 0, said.err
    first = said.json
    assert [name.rpartition(f".{NEW}.")[0] for name in first["written"]] == ["message.read", TYPE, "reaction.added"]
    await routed(store, *(body_of(each) for each in (TYPE, "message.read")))
    assert (await relay("fixtures", "record", "--out", out, "--json")).json == {"written": [], "unchanged": 3}
    assert (await relay("fixtures", "check", out)).code == 0
    assert LINE not in "".join(path.read_text() for path in Path(out).iterdir())


async def test_check_names_what_was_added_removed_and_not_recorded(store: Redis, tmp_path: Path) -> None:
    out = str(tmp_path)
    await routed(store, body_of(), body_of("message.read"))
    await relay("fixtures", "record", "--out", out)
    await store.delete(KEYS.topic("support"))
    await routed(store, body_of(moved=True))
    said = await relay("fixtures", "check", out)
    assert said.code == 1
    assert "    data.chat: removed, was object" in said.out
    assert "    data.conversation: added, object" in said.out
    assert f"? message.read {NEW}: no topic holds such an event" in said.out


async def test_added_key_may_be_allowed(store: Redis, tmp_path: Path) -> None:
    out = str(tmp_path)
    await routed(store, body_of())
    await relay("fixtures", "record", "--out", out)
    more = json.loads(body_of())
    more["data"]["urgency"] = "high"
    await routed(store, json.dumps(more).encode())
    assert (await relay("fixtures", "check", out)).code == 1
    assert (await relay("fixtures", "check", out, "--additions-ok")).code == 0


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("content", [None, "{", "[]"])
async def test_directory_without_usable_fixtures_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "message.received.json").write_text(content)
    said = await relay("fixtures", "check", str(tmp_path))
    assert said.code == 2
    assert str(tmp_path) in said.err.replace("\n", "")


async def test_facts_of_either_api_are_told_apart(store: Redis) -> None:
    await learned(store, 60, *FACTS)
    await learned(store, 60, *FACTS, version="v2")
    await learned(store, 20, "message", "direction", "service", version="v2")
    versions = {
        api: [each["version"] for each in (await relay("contracts", "list", *api, "--json")).json]
        for api in ((), ("--api", "v3"), ("--api", "v2"))
    }
    assert versions == {(): [NEW, "v2"], ("--api", "v3"): [NEW], ("--api", "v2"): ["v2"]}
    assert [(await relay("contracts", "list", "--api", api)).code for api in ("v3", "v2")] == [0, 1]
    shown = (await relay("contracts", "show", TYPE, "--api", "v2", "--json")).json
    assert [(each["version"], each["api"]) for each in shown] == [("v2", "v2")]
    assert f"accept {TYPE} --api v2" in (await relay("contracts", "show", TYPE, "--api", "v2")).out
    assert "0 changes" in (await relay("contracts", "accept", TYPE, "--api", "v3")).out
    assert "2 changes" in (await relay("contracts", "accept", TYPE, "--api", "v2")).out
    assert [(each.command, each.target) async for each in records(store)] == [
        ("contracts accept", "message.received (v2)")
    ]
    with pytest.raises(NotFound, match="of Linq's v2 API"):
        await relay("contracts", "show", "message.sent", "--api", "v2")
