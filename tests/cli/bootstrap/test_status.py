"""`relay bootstrap rotate|status`, and a new RELAY_SECRET_KEY."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.secret import new_key
from relay.linq.target_urls import target_url
from tests.cli.bootstrap.conftest import KEY, PUBLIC
from tests.cli.running import main_here
from tests.sandbox.running import LINES, OTHER_LINE, RunningSandbox
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def test_rotate_creates_new_secrets(sandbox: RunningSandbox) -> None:
    assert (await main_here("bootstrap", "apply")).code == 0
    said = await main_here("bootstrap", "rotate", "--line", OTHER_LINE, "--overlap", "1h")
    assert said.code == 0
    assert said.out.endswith("2 changed, 0 kept, 0 failed.\n")
    made = {record.target_url.partition("&owner=")[0] for record in sandbox.sandbox.state.subscriptions.values()}
    assert target_url(PUBLIC, OTHER_LINE, 2) in made
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
    await redis.hset(KEYS.last_seen, LINES[0], "1789377302000 1")  # type: ignore[misc]
    said = await main_here("bootstrap", "status")
    assert said.code == 1  # the line had its last event in September
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
    refused = await main_here("bootstrap", "apply", **new)
    assert refused.code == 1
    assert "RELAY_SECRET_KEY_OLD, in every ingress, worker and bootstrap" in refused.err
    assert "delete" not in refused.err

    both = {**new, "RELAY_SECRET_KEY_OLD": f"{new_key()},{KEY}"}
    said = await main_here("bootstrap", "status", **both)
    assert f"RELAY_SECRET_KEY_OLD is still needed by {len(LINES)} secrets; run: relay bootstrap apply" in said.out
    said = await main_here("bootstrap", "apply", **both)
    assert said.code == 0
    assert f"{len(LINES)} secrets encrypted with the new RELAY_SECRET_KEY." in said.out
    said = await main_here("bootstrap", "status", "--json", **both)
    assert said.json["old_key"] == {"is_set": True, "needed_by": 0, "encrypted_again": 0}
    said = await main_here("bootstrap", "status", **both)
    assert "RELAY_SECRET_KEY_OLD can be removed: no stored secret needs it." in said.out

    said = await main_here("bootstrap", "status", **new)
    assert (said.code, "RELAY_SECRET_KEY_OLD" in said.out) == (0, False)
    assert (await main_here("bootstrap", "plan", **new)).code == 0
    assert sandbox.changes == ["POST /v3/webhook-subscriptions"] * len(LINES)
    assert await redis.hlen(KEYS.keyring) == len(LINES)  # type: ignore[misc]


async def test_malformed_subscription_is_a_row_of_its_own(sandbox: RunningSandbox) -> None:
    await main_here("bootstrap", "apply")
    odd = await sandbox.subscribe(f"{PUBLIC}/webhooks/linq?version=2026-02-03&line=645-CALL&gen=1")
    slash = await sandbox.subscribe(f"{PUBLIC}/webhooks/linq/?line=16465550123")
    said = await main_here("bootstrap", "status")
    assert said.code == 1
    [row] = [line for line in said.out.splitlines() if odd.id in line]
    assert all(text in row for text in ("unknown", "yes", 'its line "645-CALL" is not a phone number', "delete it"))
    [row] = [line for line in said.out.splitlines() if slash.id in line]
    assert "its path ends in a slash" in row
    assert "2 malformed" in said.out
    applied = await main_here("bootstrap", "apply")
    assert (applied.code, odd.id in applied.err) == (0, True)
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES) + 2


async def test_listed_number_that_is_not_e164_is_reported(sandbox: RunningSandbox) -> None:
    sandbox.sandbox.state.lines[:] = ["+1 (646) 555-0123", *LINES[1:], "16465550199"]
    applied = await main_here("bootstrap", "apply", "--json")
    assert [step["line"] for step in applied.json["steps"]] == list(LINES)
    assert [note.split(": ")[0] for note in applied.json["notes"]] == ["+1 (646) 555-0123", "16465550199"]
    said = await main_here("bootstrap", "status")
    assert (said.code, "Linq lists this number, but not in E.164" in said.out) == (1, True)
