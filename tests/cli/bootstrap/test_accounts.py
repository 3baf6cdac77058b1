"""`relay bootstrap` with several accounts at Linq (`[[linq.accounts]]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.linq.api.v3 import open_linq
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from tests.cli.bootstrap.conftest import KEY, PUBLIC
from tests.cli.running import RULES, main_here
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis

SALES_LINES = ("+16465550126", "+16465550127")
ACCOUNTS = """
[linq]
account = false

[[linq.accounts]]
name = "sales"
key = "env:LINQ_SALES_KEY"

[[linq.accounts]]
name = "ops"
key = "file:ops.key"
exclude = ["+16465550127"]
"""


@pytest.fixture
async def sandbox(rules: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningSandbox]:
    """A sandbox with three accounts, and the environment in which commands find them."""
    rules.write_text(ACCOUNTS + RULES)
    (rules.parent / "ops.key").write_text("ops-key\n")
    async with running_sandbox(
        allow_local=False, accounts={"sales-key": SALES_LINES, "ops-key": ["+16465550128"]}
    ) as running:
        for name, value in {
            "REDIS_URL": redis_url,
            "RELAY_PUBLIC_URL": PUBLIC,
            "RELAY_SECRET_KEY": KEY,
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_SALES_KEY": "sales-key",
            "LINQ_API_V3_BASE_URL": running.base_url,
        }.items():
            monkeypatch.setenv(name, value)
        yield running


async def test_each_account_has_its_own_urls_secrets_and_rows(sandbox: RunningSandbox, redis: Redis) -> None:
    planned = await main_here("bootstrap", "plan")
    assert (planned.code, "6 changes pending." in planned.out) == (0, True)
    applied = await main_here("bootstrap", "apply", "--json")
    assert (applied.code, applied.json["failed"]) == (0, 0)
    owners = sorted(step["owner"] for step in applied.json["steps"])
    assert owners == [*LINES, "ops/+16465550128", *(f"sales/{line}" for line in SALES_LINES)]
    assert {step.get("account") for step in applied.json["steps"]} == {None, "sales", "ops"}
    tag = await Keyring(redis, Cipher(KEY)).owner_tag()
    for there in sandbox.sandbox.state.subscriptions.values():
        name = there.account.removesuffix("-key")
        assert there.target_url.endswith(f"&gen=1&owner={tag}" + (f"&account={name}" if name else ""))
    records = await Keyring(redis, Cipher(KEY)).records()
    assert sorted((record.account or "", record.line or "") for record in records) == sorted(
        [*(("", line) for line in LINES), ("ops", "+16465550128"), *(("sales", line) for line in SALES_LINES)]
    )
    assert (await main_here("bootstrap", "plan", "--json")).json["pending"] == 0
    shown = await main_here("bootstrap", "status")
    assert (shown.code, "sales/+16465550126" in shown.out) == (0, True)


async def test_rotation_of_one_account_leaves_the_others(sandbox: RunningSandbox) -> None:
    await main_here("bootstrap", "apply")
    unknown = await main_here("bootstrap", "rotate", "--line", "+19995550100")
    assert (unknown.code, "+19995550100 is a line of none of the accounts" in unknown.err) == (2, True)
    unknown = await main_here("bootstrap", "rotate", "--account", "none")
    assert (unknown.code, "sales, ops" in unknown.err) == (2, True)
    rotated = await main_here("bootstrap", "rotate", "--account", "sales")
    assert (rotated.code, rotated.out.splitlines()[-1]) == (0, "4 changed, 0 kept, 0 failed.")
    second = [there for there in sandbox.sandbox.state.subscriptions.values() if "&gen=2&" in there.target_url]
    assert [there.account for there in second] == ["sales-key"] * 2
    both = await main_here("bootstrap", "rotate", "--line", SALES_LINES[0], "--line", LINES[0])
    assert (both.code, both.out.splitlines()[-1]) == (0, "4 changed, 0 kept, 0 failed.")


async def test_subscription_is_adopted_in_the_account_that_has_it(
    sandbox: RunningSandbox, tmp_path: Path, redis: Redis
) -> None:
    created = []
    for key, line in ((API_KEY, LINES[0]), ("sales-key", SALES_LINES[0])):
        async with open_linq(key, sandbox.base_url) as api:
            made, secret = await api.create("https://elsewhere.example.com/", ["message.received"], line)
            (tmp_path / made.id).write_text(secret.text)
            created.append(made.id)
    for subscription in created:
        said = await main_here("bootstrap", "adopt", subscription, "--secret-file", str(tmp_path / subscription))
        assert said.code == 0, said.err
    records = await Keyring(redis, Cipher(KEY)).records()
    assert {(record.account, record.line) for record in records} == {(None, LINES[0]), ("sales", SALES_LINES[0])}
    said = await main_here("bootstrap", "adopt", "none", "--secret-file", str(tmp_path / created[0]))
    assert (said.code, "none of the accounts has this subscription" in said.err) == (2, True)


async def test_key_that_moves_into_an_account_takes_its_lines_along(
    sandbox: RunningSandbox, redis: Redis, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules.write_text(f"[linq]\naccount = false\n{RULES}")
    assert (await main_here("bootstrap", "apply")).code == 0
    before = set(sandbox.sandbox.state.subscriptions)
    rules.write_text(f'[linq]\naccount = false\n[[linq.accounts]]\nname = "main"\nkey = "env:MAIN_KEY"\n{RULES}')
    monkeypatch.delenv("LINQ_API_V3_API_KEY")
    monkeypatch.setenv("MAIN_KEY", API_KEY)
    moved = await main_here("bootstrap", "apply", "--json")
    assert (moved.code, moved.json["failed"]) == (0, 0)
    assert [step["action"] for step in moved.json["steps"]] == ["create"] * 3 + ["delete"] * 3
    assert not before & set(sandbox.sandbox.state.subscriptions)
    assert (await main_here("bootstrap", "plan", "--json")).json["pending"] == 0
    records = await Keyring(redis, Cipher(KEY)).records()
    retired = {record.subscription_id for record in records if record.retire_at is not None}
    assert retired == before, "what Linq still repeats is verified for half an hour"


async def test_line_of_two_accounts_is_an_error(
    sandbox: RunningSandbox, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINQ_SALES_KEY", API_KEY)
    for command in ("plan", "apply", "status"):
        said = await main_here("bootstrap", command)
        assert (said.code, "the account of LINQ_API_V3_API_KEY and account sales" in said.err) == (1, True)
    assert sandbox.changes == []
    twice = ACCOUNTS.replace('name = "sales"', f'name = "sales"\nlines = ["{LINES[0]}"]')
    rules.write_text(twice.replace("account = false", f'account = false\nlines = ["{LINES[0]}"]') + RULES)
    checked = await main_here("check")
    assert (checked.code, f"{LINES[0]} is a line of [linq] already" in checked.err) == (2, True)


@pytest.mark.usefixtures("sandbox")
async def test_missing_key_names_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINQ_SALES_KEY")
    for arguments, code in ((("bootstrap", "plan"), 2), (("check",), 0)):
        said = await main_here(*arguments)
        assert (said.code, "key of account sales" in said.err + said.out) == (code, True)


@pytest.mark.usefixtures("sandbox")
async def test_key_itself_is_refused_in_the_rules(rules: Path) -> None:
    rules.write_text(ACCOUNTS.replace("env:LINQ_SALES_KEY", "secret-api-key") + RULES)
    said = await main_here("check")
    assert (said.code, 'write the key as "env:NAME"' in said.err, "secret-api-key" in said.err) == (2, True, False)
