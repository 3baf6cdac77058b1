"""`relay bootstrap migrate`: from v2 to v3, a step a run, without touching what is not the relay's."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relay.sandbox.payloads import NEW, Scenario, data_of
from relay.sandbox.payloads.v2 import v2_body
from tests.cli.bootstrap.conftest import PUBLIC
from tests.cli.running import main_here
from tests.sandbox.running import API_KEY, LINE, LINES, RunningSandbox
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis

V2_TABLE = '[linq.v2]\nevents = ["message.*"]\n'
TOPIC = "messages"
FOREIGN = "https://somewhere.example.com/hook"
MIGRATE = ("bootstrap", "migrate", "--for", "1h")


@pytest.fixture
def both(sandbox: RunningSandbox, rules_of_lines: Path, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A relay that has v2, and a subscription of others there."""
    monkeypatch.setenv("LINQ_V2_TOKEN", API_KEY)
    monkeypatch.setenv("LINQ_V2_BASE_URL", f"{sandbox.base_url}/v2")
    monkeypatch.setenv("LINQ_V2_WEBHOOK_SECRET", "a secret of v2")
    rules_of_lines.write_text(
        f'{V2_TABLE}[linq]\naccount = false\n[[topics]]\nname = "{TOPIC}"\nevents = ["message.*"]\n'
    )
    sandbox.subscribe_v2(FOREIGN)
    sandbox.subscribe_v2(f"{PUBLIC}/webhooks/linq/v2")
    return sandbox


async def add(redis: Redis, text: str, *versions: str) -> None:
    """Put a message that arrived half an hour ago into the topic, as it comes over each of the APIs."""
    sent = datetime.fromtimestamp(time.time() - 1800, UTC)
    scenario = Scenario(line=LINE, text=text, occurred_at=sent, event_time=sent)
    bodies = {
        "v2": v2_body("message.received", scenario, f"{text} v2", sent),
        NEW: json.dumps({"data": data_of("message.received", scenario, NEW)}).encode(),
    }
    at = round(sent.timestamp() * 1000)
    for version in versions:
        fields = {"id": f"{text} {version}", "type": "message.received", "line": LINE, "at": at, "version": version}
        await redis.xadd(KEYS.topic(TOPIC), {**fields, "body": bodies[version]}, id=f"{at}-*")  # type: ignore[dict-item]


async def states(*options: str, code: int = 2) -> tuple[str, ...]:
    """Run the command; return the state of each step."""
    said = await main_here(*MIGRATE, *options, "--json")
    assert said.code == code, said.err
    return tuple(step["state"] for step in json.loads(said.out)["steps"])


async def test_move_goes_on_where_it_stopped(
    both: RunningSandbox, redis: Redis, rules_of_lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await states() == ("next", "later", "later", "later")
    assert (await main_here(*MIGRATE)).code == 2  # without a terminal it asks for --yes
    assert not both.changes
    assert "Both are on." in (await main_here(*MIGRATE, "--yes")).out
    assert len(both.sandbox.state.subscriptions) == len(LINES)
    assert await states() == ("done", "next", "later", "later")  # both were on for seconds

    later = time.time() + 7200
    monkeypatch.setattr(time, "time", lambda: later)
    assert await states() == ("done", "next", "later", "later")  # no message came over both
    await add(redis, "hello", "v2", NEW)
    assert await states() == ("done", "done", "next", "later")
    await add(redis, "missed", "v2")
    said = await main_here(*MIGRATE)
    assert "1 over both, 1 only over v2, 0 only over v3" in said.out
    assert "missed v2" in said.out
    await redis.delete(KEYS.topic(TOPIC))
    await add(redis, "hello again", "v2", NEW)

    rules_of_lines.write_text(rules_of_lines.read_text().removeprefix(V2_TABLE))
    before = list(both.changes)
    assert await states() == ("done", "done", "done", "next")
    assert both.changes == before
    refused = await main_here(*MIGRATE, "--yes", "--json")
    assert (refused.code, "--json only shows the steps" in refused.err, both.changes) == (2, True, before)
    last = await main_here(*MIGRATE, "--yes")
    assert (last.code, "Deleted at v2: 2." in last.out) == (0, True), last.out
    assert [each.webhook_url for each in both.sandbox.state.v2_subscriptions.values()] == [FOREIGN]
    assert await states(code=0) == ("done",) * 4


@pytest.mark.usefixtures("sandbox", "rules_of_lines")
async def test_without_v2_there_is_nothing_to_move() -> None:
    said = await main_here(*MIGRATE)
    assert (said.code, "nothing to move: relay.toml has no [linq.v2] table" in said.err) == (1, True), said
