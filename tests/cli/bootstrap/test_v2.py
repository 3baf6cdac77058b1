"""`relay bootstrap` with `[linq.v2]` in relay.toml."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import main_here
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, linq_error
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from relay.store.driver.client import Redis


async def test_v2_subscription_is_in_plan_and_status(
    sandbox: RunningSandbox, rules_of_lines: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules_of_lines.write_text(f"{rules_of_lines.read_text()}\n[linq.v2]\n")
    said = await main_here("bootstrap", "plan")
    assert said.code == 2
    assert all(name in said.err for name in ("LINQ_V2_TOKEN", "LINQ_V2_WEBHOOK_SECRET", "[linq.v2]"))

    monkeypatch.setenv("LINQ_V2_TOKEN", API_KEY)
    monkeypatch.setenv("LINQ_V2_BASE_URL", f"{sandbox.base_url}/v2")
    monkeypatch.setenv("LINQ_V2_WEBHOOK_SECRET", "of our own choosing")
    said = await main_here("bootstrap", "plan")
    assert said.code == 0
    assert "4 changes pending." in said.out
    assert "https://relay.example.com/webhooks/linq/v2" in said.out
    said = await main_here("bootstrap", "apply")
    assert said.code == 0
    assert "create  v2" in said.out
    assert [record.secret for record in sandbox.sandbox.state.v2_subscriptions.values()] == ["of our own choosing"]
    assert (await main_here("bootstrap", "plan")).code == 0

    await redis.hset(KEYS.last_seen, "v2", f"{round(time.time() * 1000)} -1")  # type: ignore[misc]
    said = await main_here("bootstrap", "status")
    assert said.code == 0
    (row,) = [line for line in said.out.splitlines() if line.strip().startswith("v2")]
    assert "its old secret" in row
    assert row.split()[-2:] == ["ok", "1"]
    sandbox.sandbox.state.v2_subscriptions.clear()
    said = await main_here("bootstrap", "status", "--json")
    assert (said.code, said.json["differences"]["missing"]) == (1, 1)
    assert {row["owner"]: row["state"] for row in said.json["subscriptions"]} == {
        **dict.fromkeys(LINES, "ok"),
        "v2": "there is no v2 subscription",
    }


@pytest.fixture
def with_v2(sandbox: RunningSandbox, rules_of_lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`[linq.v2]`, and all it needs."""
    rules_of_lines.write_text(f"{rules_of_lines.read_text()}\n[linq.v2]\n")
    monkeypatch.setenv("LINQ_V2_TOKEN", API_KEY)
    monkeypatch.setenv("LINQ_V2_BASE_URL", f"{sandbox.base_url}/v2")
    monkeypatch.setenv("LINQ_V2_WEBHOOK_SECRET", "of our own choosing")


@pytest.mark.usefixtures("with_v2")
async def test_missing_v2_variables_are_reported_before_changes(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINQ_V2_TOKEN")
    said = await main_here("bootstrap", "apply")
    assert said.code == 2
    assert "LINQ_V2_TOKEN" in said.err
    assert sandbox.changes == []


@pytest.mark.usefixtures("with_v2")
@pytest.mark.parametrize(("away", "there"), [("v2", "v3"), ("v3", "v2")])
async def test_failure_of_one_api_does_not_stop_the_other(sandbox: RunningSandbox, away: str, there: str) -> None:
    async def forbid(request: web.Request) -> web.StreamResponse | None:
        return linq_error(403, 2011, "Feature not enabled") if f"/{away}/" in request.path else None

    sandbox.intercept = forbid
    planned = await main_here("bootstrap", "plan", "--json")
    assert (planned.code, planned.json["pending"]) == (1, len(LINES) if there == "v3" else 1)
    [error] = planned.json["errors"]
    assert error.startswith(f"{away}: ")
    applied = await main_here("bootstrap", "apply")
    assert applied.code == 1
    assert f"{away}: " in applied.err
    assert f"{len(LINES) if there == 'v3' else 1} changed, 0 kept, 0 failed." in applied.out
    status = await main_here("bootstrap", "status", "--json")
    assert status.code == 1
    assert all(row["is_ok"] for row in status.json["subscriptions"])
    assert [row["owner"] == "v2" for row in status.json["subscriptions"]].count(True) == (there == "v2")


# --- v2 alone -----------------------------------------------------------------------------------------


@pytest.fixture
def v2_alone(with_v2: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of v2, without a key for v3."""
    del with_v2
    monkeypatch.delenv("LINQ_API_V3_API_KEY")


@pytest.mark.usefixtures("v2_alone")
async def test_v2_alone_is_registered_and_said(sandbox: RunningSandbox) -> None:
    applied = await main_here("bootstrap", "apply")
    assert (applied.code, applied.out.splitlines()[-1]) == (0, "1 changed, 0 kept, 0 failed.")
    assert "only the v2 subscription of [linq.v2] is maintained" in applied.err
    assert (len(sandbox.sandbox.state.v2_subscriptions), sandbox.sandbox.state.subscriptions) == (1, {})
    status = await main_here("bootstrap", "status", "--json")
    assert (status.code, [row["owner"] for row in status.json["subscriptions"]]) == (0, ["v2"])
    assert "LINQ_API_V3_API_KEY is not set" in status.json["notes"][0]
    examined = await main_here("doctor", "--json")
    found = [(row["state"], row["what"]) for row in examined.json["findings"] if row["area"] == "Linq"]
    assert found[0] == ("ok", "1 subscription is registered as configured")
    assert [state for state, what in found if "only the v2 subscription" in what] == ["warning"]


@pytest.mark.usefixtures("v2_alone")
async def test_rotation_needs_v3() -> None:
    said = await main_here("bootstrap", "rotate")
    assert (said.code, "LINQ_API_V3_API_KEY" in said.err) == (2, True)


@pytest.mark.usefixtures("v2_alone")
async def test_missing_table_of_v2_is_named(rules: Path) -> None:
    rules.write_text(rules.read_text().replace("[linq.v2]", ""))
    said = await main_here("bootstrap", "apply")
    assert (said.code, "[linq.v2]" in said.err, "LINQ_API_V3_API_KEY" in said.err) == (2, True, True)
