"""`relay replay`: a topic's history is ordered for a subscription, watched, listed and cancelled."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.errors import RelayError
from relay.store import wakeups
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics import replays
from relay.store.topics.replays import Replays, State
from tests.cli.running import TIMEOUT, ended, invoke_beside, line_with, main_here, relay_process
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

LINE = "+16465550123"
STREAM = KEYS.topic("support")
HOUR = 3600 * 1000
RULES = """
[[topics]]
name = "support"
events = ["*"]

[[topics]]
name = "quiet"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "quiet"
url = "http://127.0.0.1:9/"
secret = "env:S"
"""


@pytest.fixture(autouse=True)
async def _history(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five events, five hours ago to one hour ago; a subscription of another topic."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    now = round(time.time() * 1000)
    for n in range(5):
        kind, line = ("message.received", LINE) if n % 2 else ("reaction.added", "")
        await redis.xadd(
            STREAM, {"id": f"e{n}", "type": kind, "line": line, "body": "{}"}, id=f"{now - (5 - n) * HOUR}-0"
        )


async def order(*arguments: str) -> Any:
    """Return the JSON of `relay replay`."""
    return (await invoke_beside("replay", "--topic", "support", "--to", "bot", *arguments, "--json")).json


async def refused(*arguments: str) -> str:
    said = await main_here("replay", *arguments)
    assert said.is_one_message_without_traceback()
    assert said.code in {1, 2}
    return " ".join(said.err.replace("│", " ").split())


# --- Ordering ------------------------------------------------------------------------------------------


async def test_dry_run_only_counts(redis: Redis) -> None:
    found = await order("--dry-run", "--type", "message.*", "--line", LINE)
    assert (found["topic"], found["subscription"], found["events"], found["matching"]) == ("support", "bot", 5, 2)
    assert (found["dry_run"], found["would_replay"], found["is_complete"]) == (True, 2, True)
    assert found["last_at"] - found["first_at"] == 4 * HOUR
    assert not await redis.exists(KEYS.replays, KEYS.queue, KEYS.slow_queue)
    said = await main_here("replay", "--topic", "support", "--to", "bot", "--dry-run", "--rate", "0.1")
    assert "support has 5 events from" in said.out
    assert "They would be sent to bot in at least 50s." in said.out


async def test_order_is_stored_and_its_job_is_woken(redis: Redis) -> None:
    begun = await order("--since", "210m", "--until", "90m", "--rate", "7.5")
    assert (begun["events"], begun["matching"], begun["rate"], begun["state"]) == (2, 2, 7.5, "running")
    assert "@" in begun["by"]
    (stored,) = await Replays(redis).running()
    assert stored.id == begun["id"]
    assert await redis.zscore(KEYS.slow_queue, wakeups.replay(KEYS).job_id) == wakeups.NOW


async def test_start_is_shown_to_people() -> None:
    said = await main_here("replay", "--topic", "support", "--to", "bot")
    assert said.code == 0
    assert "5 of them match" in said.out
    assert "relay replay cancel" in said.out
    assert "no longer kept" not in said.out


async def test_trimmed_history_is_reported(redis: Redis) -> None:
    await redis.xtrim(STREAM, maxlen=3, approximate=False)
    said = await main_here("replay", "--topic", "support", "--to", "bot", "--since", "9h", "--dry-run")
    assert "are no longer stored" in said.out
    said = await main_here("replay", "--topic", "support", "--to", "bot", "--since", "150m", "--dry-run")
    assert "are no longer stored" not in said.out
    assert not (await order("--dry-run"))["is_complete"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--topic", "nothing", "--to", "bot"), 'no topic "nothing" (known: support, quiet)'),
        (("--topic", "support", "--to", "crm"), 'no push subscription "crm" (known: bot)'),
        (("--topic", "quiet", "--to", "bot"), 'topic "quiet" has no events'),
        (
            ("--topic", "support", "--to", "bot", "--since", "30m"),
            "has no events in that period; its oldest event is from",
        ),
        (("--topic", "support", "--to", "bot", "--type", "call.*"), 'none of the 5 events of "support"'),
        (("--topic", "support", "--to", "bot", "--since", "1h", "--until", "2h"), '"1h" is not before "2h"'),
        (("--topic", "support", "--to", "bot", "--since", "2999-01-01"), '"2999-01-01" is in the future'),
        (("--topic", "support", "--to", "bot", "--until", "2999-01-01"), '"2999-01-01" is in the future'),
        (("--topic", "support", "--to", "bot", "--until", "soon"), '"soon" is not a time'),
        (("--topic", "support", "--to", "bot", "--type", "**"), "is not an event-type pattern"),
        (("--topic", "support", "--to", "bot", "--line", "12"), "is not a phone number"),
        (("--topic", "support"), "both are needed"),
    ],
)
async def test_impossible_replay_is_one_sentence(redis: Redis, arguments: tuple[str, ...], message: str) -> None:
    assert message in await refused(*arguments)
    assert not await redis.exists(KEYS.replays)


async def test_number_of_running_replays_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MAX_RUNNING", 1)
    await order()
    assert "1 replay can run at a time; wait for one to end, or cancel one" in await refused(
        "--topic", "support", "--to", "bot"
    )


# --- Watching ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "code"), [(State.DONE, 0), (State.CANCELLED, 1), (State.FAILED, 1)])
async def test_follow_shows_the_end(redis: Redis, state: State, code: int) -> None:
    watching = asyncio.create_task(main_here("replay", "--topic", "support", "--to", "bot", "--follow"))
    (running,) = await eventually(Replays(redis).running)
    assert await Replays(redis).end(running.id, state, "so", 1)
    said = await watching
    assert said.code == code
    assert f"Replay {running.id} is {state} (so): bot was sent 0 events." in said.out


async def test_ctrl_c_only_stops_following(redis: Redis) -> None:
    async with relay_process("replay", "--topic", "support", "--to", "bot", "--follow") as process:
        await line_with("stops it", process.stdout)

        async def is_looking() -> bool:
            return any(client["cmd"] == "hexists" for client in await redis.client_list())

        await eventually(is_looking)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(TIMEOUT):
            said = await ended(process)
    (running,) = await Replays(redis).running()
    assert said.code == 0
    assert f"Replay {running.id} continues; relay replay cancel {running.id} stops it." in said.err
    assert "Traceback" not in said.err


# --- Listing and cancelling ----------------------------------------------------------------------------


async def test_list_and_cancel(redis: Redis) -> None:
    assert (await invoke_beside("replay", "list", "--json")).json == []
    first, second = await order(), await order("--type", "message.*")
    said = await main_here("replay", "cancel", first["id"])
    assert said.out == f"Replay {first['id']} is cancelled; bot was sent 0 events.\n"
    assert [(replay["id"], replay["state"]) for replay in (await invoke_beside("replay", "list", "--json")).json] == [
        (first["id"], "cancelled"),
        (second["id"], "running"),
    ]
    await Suspensions(redis).pause("bot", "maintenance", 1)
    table = (await main_here("replay", "list")).out
    assert all(
        text in table for text in (first["id"], "cancelled", "message.*", "waits: the subscription is not delivering")
    )


async def test_ended_or_unknown_replay_cannot_be_cancelled() -> None:
    begun = await order()
    await main_here("replay", "cancel", begun["id"])
    assert f"replay {begun['id']} has already ended: cancelled" in await refused("cancel", begun["id"])
    with pytest.raises(RelayError, match='no replay "feed"'):
        await invoke_beside("replay", "cancel", "feed")
