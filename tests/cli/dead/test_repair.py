"""`relay dead replay` and `relay dead drop`, and the options that choose dead letters."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.errors import RelayError
from relay.store import wakeups
from tests.cli.dead.conftest import BODY, RULES, dead, ids
from tests.cli.running import invoke_beside
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

# --- replay --------------------------------------------------------------------------------------------


async def test_replay_sends_one_event_back_to_its_lane(graves: Redis) -> None:
    said = await dead("replay", "--subscription", "bot", "--id", "e-1", "--json")
    assert (said.code, said.json) == (0, {"replayed": 1, "subscriptions": {"bot": 1}})
    assert ids(await dead("list", "--json")) == [("bot", "e-2"), ("audit", "e-1")]
    ((_, fields),) = await graves.xrange(KEYS.lane("bot", "replay"))
    assert (fields[b"id"], fields[b"body"].decode(), fields[b"dead_topic"]) == (b"e-1", BODY, b"support")


async def test_replay_wakes_the_lane(graves: Redis) -> None:
    before = time.time() * 1000
    await dead("replay", "--subscription", "bot", "--all")
    partition = wakeups.partition_of("bot")
    ((lane, since),) = await graves.zrange(KEYS.ready(partition), 0, -1, withscores=True)
    assert lane == b"bot"
    assert before - 1 <= since <= time.time() * 1000 + 1
    assert await graves.zrange(KEYS.queue, 0, -1) == [wakeups.deliver(KEYS, partition).job_id.encode()]


@pytest.mark.usefixtures("graves")
async def test_replay_of_an_event_reaches_all_its_subscriptions() -> None:
    said = await dead("replay", "--id", "e-1", "--json")
    assert said.json == {"replayed": 2, "subscriptions": {"audit": 1, "bot": 1}}


async def test_replay_of_all_leaves_none(graves: Redis) -> None:
    said = await dead("replay", "--all", "--json")
    assert said.json == {"replayed": 3, "subscriptions": {"audit": 1, "bot": 2}}
    assert ids(await dead("list", "--json")) == []
    replayed = [fields[b"id"] for _, fields in await graves.xrange(KEYS.lane("bot", "replay"))]
    assert replayed == [b"e-1", b"e-2"]


@pytest.mark.usefixtures("graves")
async def test_replay_shows_counts() -> None:
    said = await dead("replay", "--all")
    assert said.out == "audit: 1 sent back\nbot: 2 sent back\n"
    again = await dead("replay", "--all")
    assert (again.code, again.out.strip()) == (0, "Nothing found.")


@pytest.mark.usefixtures("graves")
async def test_event_without_dead_letter_cannot_be_replayed() -> None:
    assert (await dead("replay", "--id", "e-9")).code == 1
    await dead("replay", "--id", "e-2")
    assert (await dead("replay", "--id", "e-2", "--json")).code == 1


@pytest.mark.usefixtures("graves")
@pytest.mark.parametrize("arguments", [[], ["--subscription", "bot"]], ids=["nothing", "a subscription"])
async def test_replay_without_a_choice_is_refused(arguments: list[str]) -> None:
    said = await dead("replay", *arguments)
    assert said.code == 2
    assert "--all" in said.err
    assert len(ids(await dead("list", "--json"))) == 3


async def test_ledger_balances_before_and_after(graves: Redis) -> None:
    await graves.hset(KEYS.counts, mapping={"accepted": 3, "routed": 3})  # type: ignore[misc]
    before = (await invoke_beside("ledger", "--json")).json
    await dead("replay", "--all")
    after = (await invoke_beside("ledger", "--json")).json
    assert before["balances"]
    assert after["balances"]
    bot_before, bot_after = before["subscriptions"][1], after["subscriptions"][1]
    assert (bot_before["dead"], bot_before["waiting"], bot_before["replayed"]) == (2, 0, 0)
    assert (bot_after["dead"], bot_after["waiting"], bot_after["replayed"]) == (0, 2, 2)


@pytest.mark.usefixtures("graves")
async def test_dead_letters_of_a_removed_subscription_are_not_replayed() -> None:
    Path("relay.toml").write_text(RULES.replace('name = "bot"', 'name = "robot"'))
    with pytest.raises(RelayError, match=r"bot is no longer in relay\.toml"):
        await dead("replay", "--all")
    assert len(ids(await dead("list", "--json"))) == 3
    assert (await dead("replay", "--all", "--subscription", "audit")).code == 0


# --- which, how fast, and dropping ------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--type", "call.*"], 3),
        (["--type", "message.received", "--subscription", "bot"], 2),
        (["--line", "+16465550124"], 3),
        (["--reason", "unreachable"], 1),
        (["--since", "2026-09-14T09:15:10Z"], 3),
        (["--until", "2026-09-14T09:15:10Z"], 3),
        (["--since", "2026-09-14T09:15:10Z", "--until", "2026-09-14T09:15:11Z"], 0),
        (["--since", "2026-09-14T09:15:10Z", "--line", "+16465550123"], 0),
    ],
)
async def test_filters_choose_what_is_shown(options: list[str], found: int) -> None:
    assert len(ids(await dead("list", *options, "--json"))) == found
    said = await dead("replay", *options, "--dry-run", "--json")
    assert (said.code, said.json["dry_run"], said.json["would_replay"]) == (0, True, found)
    assert "replayed" not in said.json
    assert len(ids(await dead("list", "--json"))) == 6


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("options", "named"),
    [(["--type", "call..x"], "--type"), (["--line", "123"], "--line"), (["--since", "yesterday"], "--since")],
)
async def test_invalid_filter_is_refused(options: list[str], named: str) -> None:
    said = await dead("list", *options)
    assert said.code == 2
    assert named in said.err


@pytest.mark.usefixtures("many")
async def test_replay_keeps_to_a_rate() -> None:
    began = time.monotonic()
    said = await dead("replay", "--type", "call.*", "--rate", "20", "--json")
    assert said.json == {"replayed": 3, "subscriptions": {"bot": 3}}
    assert time.monotonic() - began >= 0.05


@pytest.mark.usefixtures("many")
async def test_drop_counts_first_and_the_ledger_keeps_the_number() -> None:
    assert (await dead("drop", "wrong deploy", "--type", "call.*", "--dry-run")).out == "bot: 3 would be dropped\n"
    with capture_logs() as logs:
        assert (await dead("drop", "wrong deploy", "--type", "call.*")).out == "bot: 3 dropped\n"
    assert [(line["event"], line["subscription"], line["events"], line["why"]) for line in logs] == [
        ("dead.dropped", "bot", 3, "wrong deploy")
    ]
    assert len(ids(await dead("list", "--json"))) == 3
    [_, bot] = (await invoke_beside("ledger", "--json")).json["subscriptions"]
    assert (bot["dead"], bot["dropped"], bot["balances"]) == (2, 3, True)
    assert (await dead("drop", "why", "--id", "call-1")).code == 1
    assert (await dead("drop", "why")).code == 2
