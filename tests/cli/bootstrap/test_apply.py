"""`relay bootstrap plan|apply` as processes, against a sandbox and a Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.secret import SigningSecret, new_key
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.target_urls import target_url
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from tests.cli.bootstrap.conftest import KEY, PUBLIC
from tests.cli.running import main_here, relay
from tests.sandbox.running import LINES, OTHER_LINE, RunningSandbox, closed_port, linq_error

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from relay.store.driver.client import Redis

NEEDED = ("RELAY_PUBLIC_URL", "RELAY_SECRET_KEY", "LINQ_API_V3_API_KEY")


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


async def test_held_back_deletion_is_shown_and_can_be_allowed(sandbox: RunningSandbox) -> None:
    await main_here("bootstrap", "apply")
    sandbox.sandbox.state.lines.remove(OTHER_LINE)
    planned = await main_here("bootstrap", "plan", "--detailed-exitcode")
    assert (planned.code, "No changes. 1 step held back." in planned.out) == (0, True)
    applied = await main_here("bootstrap", "apply")
    assert (applied.code, applied.out.splitlines()[-1]) == (0, "0 changed, 2 kept, 1 held back, 0 failed.")
    for text in ("hold", "Linq no longer lists the line", "1 of 3 looks agree", "relay bootstrap apply --allow-delete"):
        assert text in applied.out
    status = await main_here("bootstrap", "status")
    assert (status.code, "1 extra; relay bootstrap plan shows" in status.out) == (1, True)
    assert "1 changed, 2 kept, 0 failed." in (await main_here("bootstrap", "apply", "--allow-delete")).out
    assert len(sandbox.sandbox.state.subscriptions) == 2
