"""`relay bootstrap` where subscriptions are another relay's, were left behind, or are to be adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.secret import new_secret
from relay.linq.target_urls import target_url
from tests.cli.bootstrap.conftest import PUBLIC
from tests.cli.running import invoke_beside, main_here, relay
from tests.sandbox.running import LINE, LINES, RunningSandbox

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis

SECOND = {"RELAY_KEY_PREFIX": "second"}


async def test_second_relay_is_told_and_may_take_over(sandbox: RunningSandbox) -> None:
    assert (await main_here("bootstrap", "apply")).code == 0
    sandbox.calls.clear()
    refused = await relay("bootstrap", "apply", **SECOND)
    assert (refused.code, sandbox.changes) == (1, [])
    assert refused.is_one_message_without_traceback()
    for text in ("3 subscriptions", "another Redis", "Nothing is changed", "relay bootstrap apply --take-over"):
        assert text in refused.err
    planned = await main_here("bootstrap", "plan", **SECOND)
    assert (planned.code, "No changes. 6 steps held back." in planned.out) == (0, True)
    assert "--take-over" in planned.err
    shown = await main_here("bootstrap", "status", **SECOND)
    assert (shown.code, shown.out.count("another relay's (owner tag")) == (1, 3)
    assert "3 rival" in shown.out
    examined = await main_here("doctor", **SECOND)
    assert examined.out.count("another relay's (owner tag") == 3

    would = await main_here("bootstrap", "plan", "--take-over", "--json", **SECOND)
    assert would.json["pending"] == 6
    taken = await main_here("bootstrap", "apply", "--take-over", "--json", **SECOND)
    assert (taken.code, taken.json["failed"]) == (0, 0)
    audited = await main_here("audit", "--json", **SECOND)
    assert "Linq, taking over" in {row["target"] for row in audited.json}
    assert "rival" in (await main_here("bootstrap", "status")).out


async def test_prune_shows_what_it_would_delete_and_asks(sandbox: RunningSandbox) -> None:
    assert (await main_here("bootstrap", "apply")).code == 0
    moved = {"RELAY_PUBLIC_URL": "https://new.example.com"}
    early = await main_here("bootstrap", "prune", "--yes", **moved)
    assert (early.code, early.out.count("run relay bootstrap apply first")) == (0, 3)
    assert (await main_here("bootstrap", "apply", **moved)).code == 0
    hinted = (await main_here("bootstrap", "status", **moved)).out, (await main_here("doctor", **moved)).out
    assert ["relay bootstrap prune" in each for each in hinted] == [True, True]
    sandbox.calls.clear()
    asked = await main_here("bootstrap", "prune", **moved)
    assert (asked.code, asked.out.count("its secret is stored here"), "--yes" in asked.err) == (2, 0, True)
    assert asked.out.count("our owner tag is in its URL") == 3
    planned = await main_here("bootstrap", "prune", "--json", **moved)
    assert (planned.code, planned.json["pending"]) == (0, 3)
    assert sandbox.changes == []
    done = await main_here("bootstrap", "prune", "--yes", "--why", "moved", **moved)
    assert (done.code, done.out.splitlines()[-1]) == (0, "3 changed, 0 kept, 0 failed.")
    there = [subscription.target_url for subscription in sandbox.sandbox.state.subscriptions.values()]
    assert all(url.startswith(moved["RELAY_PUBLIC_URL"]) for url in there)
    nothing = await main_here("bootstrap", "prune", **moved)
    assert (nothing.code, "none" in nothing.out) == (0, True)


async def test_adopt_takes_the_secret_from_a_file_or_standard_input(
    sandbox: RunningSandbox, tmp_path: Path, redis: Redis
) -> None:
    first, second = [await sandbox.subscribe(f"https://team.example.com/{line}", lines=[line]) for line in LINES[:2]]
    (tmp_path / "secret").write_text(f"{first.signing_secret}\n")
    said = await main_here("bootstrap", "adopt", first.id, "--secret-file", tmp_path / "secret", "--why", "ours now")
    assert (said.code, f"{LINE}, generation 1" in said.out) == (0, True)
    piped = await invoke_beside("bootstrap", "adopt", second.id, "--json", input=second.signing_secret.encode())
    assert (piped.code, piped.json["subscription_id"], piped.json["generation"]) == (0, second.id, 1)
    everything = said.out + said.err + piped.out + piped.err + repr(await redis.hgetall("relay:keyring"))  # type: ignore[misc]
    assert "whsec_" not in everything
    assert all(target_url(PUBLIC, line, 1) in everything for line in LINES[:2])
    planned = await main_here("bootstrap", "plan", "--json")
    assert {step["action"] for step in planned.json["steps"] if step["line"] in LINES[:2]} == {"keep"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("", "no secret"), ("whsec_AA AA", "more than one word"), ("whsec_é", "not base64")],
)
@pytest.mark.usefixtures("sandbox")
async def test_adopt_refuses_a_malformed_secret(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content, encoding="utf-8")
    said = await main_here("bootstrap", "adopt", "s-1", "--secret-file", tmp_path / "secret")
    assert (said.code, message in said.err, "AA AA" in said.err) == (2, True, False)


@pytest.mark.usefixtures("sandbox")
async def test_secret_is_never_an_argument() -> None:
    assert (await main_here("bootstrap", "adopt", "s-1", new_secret())).code == 2
