"""`relay attempts`: attempts are searched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.core.delivery.outcome import Outcome
from relay.core.errors import RelayError
from tests.cli.attempting import BAD, BEGAN, GOOD, remember
from tests.cli.running import Said, invoke_beside, main_here

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


@pytest.fixture
async def past(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """Attempts of two subscriptions, a second apart."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text("")
    await remember(redis, "bot", BAD, "busy\n[/not markup]")
    second = BEGAN + 1000
    await remember(redis, "audit", GOOD._replace(event_id="e-2", at_ms=second, chat="chat-2"), moot=True)
    await remember(redis, "bot", GOOD._replace(at_ms=second + 1000, number=2, is_replay=True, trace="t-2"))
    timed_out = BAD._replace(
        outcome=Outcome.TIMED_OUT, status=None, due_ms=None, dead="timed_out: no attempt left of 3"
    )
    other = timed_out._replace(event_id="e-3", type="call.ended", line=None, message="m-3", is_probe=True)
    await remember(redis, "audit", other._replace(at_ms=second + 2000, number=3))
    gone = BAD._replace(event_id="e-4", outcome=Outcome.GONE, status=410, at_ms=second + 3000)
    await remember(redis, "audit", gone)
    return redis


async def attempts(*arguments: str) -> Said:
    return await invoke_beside("attempts", *arguments)


@pytest.mark.usefixtures("past")
async def test_attempts_are_shown_newest_first() -> None:
    said = await attempts("--json")
    assert [(row["subscription"], row["id"], row["attempt"]) for row in said.json] == [
        ("audit", "e-4", 1),
        ("audit", "e-3", 3),
        ("bot", "e-1", 2),
        ("audit", "e-2", 1),
        ("bot", "e-1", 1),
    ]
    assert said.json[4] == {
        "id": "e-1",
        "subscription": "bot",
        "topic": "support",
        "entry": "5-0",
        "type": "message.received",
        "line": "+16465550123",
        "chat": "chat-1",
        "message": "m-1",
        "trace": "t-1",
        "attempt": 1,
        "probe": False,
        "replay": False,
        "test": False,
        "began_at": BEGAN,
        "ms": 31,
        "outcome": "failed",
        "status": 500,
        "shape": None,
        "next_at": BEGAN + 5031,
        "dead": None,
        "counted": True,
        "detail": "busy\n[/not markup]",
    }
    assert (said.json[2]["replay"], said.json[1]["probe"], said.json[3]["counted"]) == (True, True, False)
    assert said.json[1]["dead"] == "timed_out: no attempt left of 3"


@pytest.mark.usefixtures("past")
async def test_next_step_of_each_attempt_is_shown() -> None:
    said = await attempts()
    assert said.code == 0
    newest, third, second, late, first = [line for line in said.out.splitlines() if "e-" in line]
    assert "retry in 5s" in first
    assert "busy [/not markup]" in first
    assert "ignored: too late" in late
    assert "2 replay" in second
    assert "delivered" in second
    assert "3 probe" in third
    assert "dead: timed_out: no attempt left of 3" in third
    assert "paused" in newest


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("options", "meant"),
    [
        (["--subscription", "bot"], ["e-1", "e-1"]),
        (["--id", "e-1"], ["e-1", "e-1"]),
        (["--chat", "chat-2"], ["e-2"]),
        (["--message", "m-3"], ["e-3"]),
        (["--trace", "t-2"], ["e-1"]),
        (["--type", "call.*"], ["e-3"]),
        (["--line", "+16465550123", "--outcome", "delivered"], ["e-1", "e-2"]),
        (["--outcome", "failed", "--outcome", "timed_out"], ["e-3", "e-1"]),
        (["--since", "2026-09-14T09:15:04.418Z"], ["e-4", "e-3"]),
        (["--until", "2026-09-14T09:15:03.000Z"], ["e-1"]),
        (["--limit", "2"], ["e-4", "e-3"]),
        (["--limit", "1", "--subscription", "bot"], ["e-1"]),
        (["--chat", "unknown"], []),
    ],
)
async def test_filters_choose_what_is_shown(options: list[str], meant: list[str]) -> None:
    said = await attempts(*options, "--json")
    assert (said.code, [row["id"] for row in said.json]) == (0, meant)


@pytest.mark.usefixtures("past")
async def test_event_without_attempts_is_exit_code_1() -> None:
    said = await attempts("--id", "e-9")
    assert (said.code, said.out.strip()) == (1, "Nothing found.")
    assert (await attempts("--id", "e-9", "--json")).code == 1
    assert (await attempts("--chat", "x")).code == 0


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--type", "call..x"], "--type"),
        (["--line", "123"], "--line"),
        (["--since", "yesterday"], "--since"),
        (["--until", "tomorrow"], "--until"),
        (["--outcome", "lost"], "timed_out"),
        (["--limit", "0"], "--limit"),
    ],
)
async def test_invalid_filter_is_refused(options: list[str], named: str) -> None:
    said = await attempts(*options)
    assert said.code == 2
    assert named in said.err


@pytest.mark.usefixtures("past")
async def test_unknown_subscription_error_names_the_others() -> None:
    with pytest.raises(RelayError, match=r'no subscription "boot".*audit, bot'):
        await attempts("--subscription", "boot")


async def test_missing_redis_url_is_exit_code_2() -> None:
    said = await main_here("attempts")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
