"""`relay bootstrap plan|apply` as processes, against a sandbox and a Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from relay.core.secret import SigningSecret, new_key
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.target_urls import target_url
from relay.store import keys
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from tests.cli.running import main_here, relay
from tests.sandbox.running import API_KEY, LINES, OTHER_LINE, RunningSandbox, closed_port, linq_error, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web
    from redis.asyncio import Redis

KEY = new_key()
PUBLIC = "https://relay.example.com"
NEEDED = ("RELAY_PUBLIC_URL", "RELAY_SECRET_KEY", "LINQ_API_V3_API_KEY")

pytestmark = pytest.mark.usefixtures("rules_of_lines")


@pytest.fixture
def rules_of_lines(rules: Path) -> Path:
    """The rules, without a subscription for the account."""
    rules.write_text(f"[linq]\naccount = false\n{rules.read_text()}")
    return rules


@pytest.fixture
async def sandbox(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A sandbox, and the environment in which commands find it."""
    async with running_sandbox(allow_local=False) as running:
        for name, value in {
            "REDIS_URL": redis_url,
            "RELAY_PUBLIC_URL": PUBLIC,
            "RELAY_SECRET_KEY": KEY,
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_API_V3_BASE_URL": running.base_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield running


async def test_apply_does_what_plan_shows(sandbox: RunningSandbox, redis: Redis) -> None:
    planned = await relay("bootstrap", "plan", "--json")
    assert (planned.code, planned.json["pending"]) == (0, 3)
    assert planned.json["steps"] == [
        {
            "action": "create",
            "owner": line,
            "line": line,
            "generation": 1,
            "target_url": target_url(PUBLIC, line, 1),
            "subscription_id": None,
            "reason": "the line has no subscription",
            "retire_at": None,
        }
        for line in LINES
    ]
    assert sandbox.changes == []

    applied = await relay("bootstrap", "apply", "--json")
    assert (applied.code, applied.json["failed"]) == (0, 0)
    assert [(step["action"], step["error"]) for step in applied.json["steps"]] == [("create", None)] * 3
    there = {record.id: record.secret.text for record in sandbox.sandbox.state.subscriptions.values()}
    keyring = Keyring(redis, Cipher(KEY))
    assert {record.subscription_id: keyring.open(record).secret.text for record in await keyring.records()} == there
    assert not any(secret in applied.out + applied.err for secret in there.values())

    again = await main_here("bootstrap", "plan", "--json")
    assert (again.code, again.json["pending"]) == (0, 0)
    assert {step["subscription_id"] for step in again.json["steps"]} == set(there)


async def test_plan_and_results_are_shown_to_people(sandbox: RunningSandbox) -> None:
    planned = await main_here("bootstrap", "plan")
    assert planned.code == 0
    assert (await main_here("bootstrap", "plan", "--detailed-exitcode")).code == 2
    for text in (*LINES, "create", "the line has no subscription", "3 changes pending."):
        assert text in planned.out
    applied = await relay("bootstrap", "apply")
    assert applied.code == 0
    assert applied.out.count(": done") == 3
    assert applied.out.endswith("3 changed, 0 kept, 0 failed.\n")
    again = await main_here("bootstrap", "plan")
    assert again.code == 0
    assert "No changes." in again.out
    assert len(sandbox.changes) == 3


async def test_failed_step_does_not_stop_the_others(sandbox: RunningSandbox) -> None:
    async def refuse_one_line(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and OTHER_LINE in await request.text():
            return linq_error(403, 2006, "This phone number is not yours")
        return None

    sandbox.intercept = refuse_one_line
    said = await relay("bootstrap", "apply")
    assert said.code == 1
    assert "Traceback" not in said.err
    assert "This phone number is not yours" in said.out
    assert said.out.endswith("2 changed, 0 kept, 1 failed.\n")
    assert len(sandbox.sandbox.state.subscriptions) == 2


async def test_failed_step_in_json(sandbox: RunningSandbox) -> None:
    async def refuse_all(request: web.Request) -> web.StreamResponse | None:
        return linq_error(403, 2011, "Feature not enabled") if request.method == "POST" else None

    sandbox.intercept = refuse_all
    said = await relay("bootstrap", "apply", "--json")
    assert (said.code, said.json["failed"]) == (1, 3)
    assert all("Feature not enabled" in step["error"] for step in said.json["steps"])


@pytest.mark.usefixtures("sandbox")
async def test_refused_api_key_is_exit_code_1() -> None:
    said = await main_here("bootstrap", "plan", LINQ_API_V3_API_KEY="another")
    assert said.code == 1
    assert said.is_one_message_without_traceback()
    assert "LINQ_API_V3_API_KEY" in said.err
    assert "another" not in said.err.split()


@pytest.mark.usefixtures("sandbox")
async def test_unreachable_linq_is_exit_code_1() -> None:
    with closed_port() as port:
        said = await main_here("bootstrap", "plan", LINQ_API_V3_BASE_URL=f"http://127.0.0.1:{port}/api/partner")
    assert said.code == 1
    assert said.is_one_message_without_traceback()
    assert "Linq cannot be reached" in said.err


@pytest.mark.usefixtures("sandbox")
async def test_unreachable_redis_is_exit_code_1(no_redis: str) -> None:
    said = await main_here("bootstrap", "plan", REDIS_URL=no_redis)
    assert said.code == 1
    assert said.is_one_message_without_traceback()


async def test_undecryptable_secrets_are_replaced_or_reported(sandbox: RunningSandbox, redis: Redis) -> None:
    """After a change of RELAY_SECRET_KEY the ingress can verify nothing, so "nothing to do" is not the truth."""
    sealed_with_another_key = Keyring(redis, Cipher(new_key()))
    for line in LINES:
        made = await sandbox.subscribe(target_url(PUBLIC, line, 1), *KNOWN_EVENT_TYPES, lines=[line])
        await sealed_with_another_key.store(line, 1, made.id, SigningSecret(made.signing_secret), 0)
    said = await main_here("bootstrap", "plan")
    assert said.code != 0


@pytest.mark.parametrize("command", ["plan", "apply"])
async def test_missing_variables_are_one_message_and_exit_code_2(command: str) -> None:
    said = await main_here("bootstrap", command)
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert all(name in said.err for name in NEEDED)


async def test_missing_and_wrong_variables_are_reported_together() -> None:
    said = await main_here("bootstrap", "plan", RELAY_PUBLIC_URL="http://relay.example.com", RELAY_SECRET_KEY="short")
    assert said.code == 2
    assert all(name in said.err for name in NEEDED)
    assert "must be https" in said.err


async def test_missing_redis_url_is_reported_with_the_others() -> None:
    said = await main_here("bootstrap", "plan")
    assert "REDIS_URL" in said.err


async def test_empty_variables_count_as_missing() -> None:
    said = await main_here("bootstrap", "plan", **dict.fromkeys(NEEDED, ""))
    assert said.code == 2
    assert all(f"{name}: not set" in said.err for name in NEEDED)


@pytest.mark.usefixtures("sandbox")
async def test_missing_config_is_exit_code_2(rules: Path) -> None:
    rules.unlink()
    said = await main_here("bootstrap", "plan")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert "no such file" in said.err
    assert "RELAY_CONFIG" in said.err


@pytest.mark.usefixtures("sandbox")
async def test_local_public_url_needs_a_local_linq() -> None:
    said = await main_here(
        "bootstrap",
        "plan",
        RELAY_PUBLIC_URL="http://127.0.0.1:8080",
        LINQ_API_V3_BASE_URL="https://api.linqapp.example/api/partner",
    )
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert "RELAY_PUBLIC_URL" in said.err


async def test_variables_are_read_from_a_dotenv_file(
    sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(f"RELAY_PUBLIC_URL={PUBLIC}/below\n")
    monkeypatch.delenv("RELAY_PUBLIC_URL")
    said = await main_here("bootstrap", "plan", "--json")
    assert said.code == 0
    assert said.json["steps"][0]["target_url"].startswith(f"{PUBLIC}/below/webhooks/linq?")
    assert sandbox.changes == []


@pytest.mark.usefixtures("sandbox")
async def test_empty_variable_does_not_hide_the_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"RELAY_PUBLIC_URL={PUBLIC}\n")
    said = await main_here("bootstrap", "plan", "--json", RELAY_PUBLIC_URL="")
    assert "RELAY_PUBLIC_URL" not in said.err


# --- Rotating, and looking ----------------------------------------------------------------------------


async def test_rotate_creates_new_secrets(sandbox: RunningSandbox) -> None:
    assert (await main_here("bootstrap", "apply")).code == 0
    said = await main_here("bootstrap", "rotate", "--line", OTHER_LINE, "--overlap", "1h")
    assert said.code == 0
    assert said.out.endswith("2 changed, 0 kept, 0 failed.\n")
    assert target_url(PUBLIC, OTHER_LINE, 2) in {
        record.target_url for record in sandbox.sandbox.state.subscriptions.values()
    }
    planned = await main_here("bootstrap", "plan")
    assert planned.code == 0
    assert "retires at" in planned.out


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(("arguments", "named"), [(("--line", "123"), "--line"), (("--overlap", "soon"), "--overlap")])
async def test_rotate_refuses_invalid_options(arguments: tuple[str, ...], named: str) -> None:
    said = await main_here("bootstrap", "rotate", *arguments)
    assert said.code == 2
    assert named in said.err


@pytest.mark.usefixtures("sandbox")
async def test_rotate_before_apply_has_a_remedy() -> None:
    said = await main_here("bootstrap", "rotate")
    assert said.code == 1
    assert "apply first" in said.err
    assert said.is_one_message_without_traceback()


async def test_status_shows_each_line_and_its_problems(sandbox: RunningSandbox, redis: Redis) -> None:
    await main_here("bootstrap", "apply")
    await redis.hset(keys.LAST_SEEN, LINES[0], "1789377302000 1")  # type: ignore[misc]
    said = await main_here("bootstrap", "status")
    assert said.code == 1  # the line was heard of in September
    for text in (*LINES, "silent for", "never", "generation 1", "1 silent"):
        assert text in said.out
    sandbox.sandbox.state.subscriptions.popitem()
    said = await main_here("bootstrap", "status", "--json")
    assert (said.code, said.json["differences"]["missing"]) == (1, 1)
    assert [row["is_ok"] for row in said.json["subscriptions"]] == [False, True, False]


@pytest.mark.usefixtures("sandbox")
async def test_status_of_a_healthy_account_is_exit_code_0() -> None:
    await main_here("bootstrap", "apply")
    said = await main_here("bootstrap", "status")
    assert said.code == 0
    assert "Everything is in order." in said.out


async def test_secret_key_can_be_replaced(sandbox: RunningSandbox, redis: Redis) -> None:
    await main_here("bootstrap", "apply")
    new = {"RELAY_SECRET_KEY": new_key()}
    assert (await main_here("bootstrap", "apply", **new)).code == 1
    assert (await main_here("bootstrap", "apply", **new, RELAY_SECRET_KEY_OLD=f"{new_key()},{KEY}")).code == 0
    assert (await main_here("bootstrap", "plan", **new)).code == 0
    assert sandbox.changes == ["POST /v3/webhook-subscriptions"] * len(LINES)
    assert await redis.hlen(keys.KEYRING) == len(LINES)  # type: ignore[misc]


# --- v2 -----------------------------------------------------------------------------------------------


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

    await redis.hset(keys.LAST_SEEN, "v2", f"{round(time.time() * 1000)} -1")  # type: ignore[misc]
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
