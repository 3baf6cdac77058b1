"""`relay dead`: dead letters are listed, shown, replayed and dropped."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.errors import RelayError
from relay.store import keys, wakeups
from relay.store.lanes.lane import Lane
from tests.cli.attempting import BAD, GOOD, remember
from tests.cli.running import Said, invoke_beside, main_here

if TYPE_CHECKING:
    from redis.asyncio import Redis

LINE = "+16465550123"
RULES = "\n".join(
    [
        '[[topics]]\nname = "support"\nevents = ["*"]',
        *(
            f'[[subscriptions]]\nname = "{name}"\ntopic = "support"\nurl = "http://x"\nsecret = "env:S"'
            for name in ("bot", "audit")
        ),
    ]
)
DIED = 1_789_377_302_417
BODY = '{"event_id":"e-1","text":"é [/not markup]"}'


async def bury(redis: Redis, subscription: str, event_id: str, **more: str) -> str:
    """A dead letter as a worker writes it, its lane included; its place in the stream."""
    lane = Lane(redis, subscription, f"{subscription}-topic")
    await lane.ensure()
    fields: Any = {
        "id": event_id,
        "type": "message.received",
        "line": LINE,
        "chat": "chat-1",
        "at": DIED - 60_000,
        "version": "2026-02-03",
        "body": BODY,
        "dead_topic": "support",
        "dead_at": DIED,
        "dead_reason": "rejected: status 404",
        "dead_tries": 3,
        "dead_first_at": DIED - 50_000,
        "dead_status": 404,
        "dead_detail": "nothing here",
        **more,
    }
    event = await redis.xadd(lane.topic_stream, {"id": event_id, "body": BODY})
    await lane.read_new(1)
    await redis.xack(lane.topic_stream, lane.group, event)
    entry: bytes = await redis.xadd(keys.lane(subscription, "dead"), fields)
    return entry.decode()


@pytest.fixture
async def graves(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """Two dead letters of one subscription, and one of another."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    await bury(redis, "bot", "e-1")
    await bury(redis, "bot", "e-2", line="", chat="", dead_status="", dead_reason="unreachable: no attempt left of 3")
    await bury(redis, "audit", "e-1")
    return redis


async def dead(*arguments: str) -> Said:
    return await invoke_beside("dead", *arguments)


def ids(said: Said) -> list[tuple[str | None, str]]:
    return [(row["subscription"], row["id"]) for row in said.json]


# --- list ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("graves")
async def test_list_shows_every_dead_letter_with_details() -> None:
    said = await dead("list", "--json")
    assert said.code == 0
    assert ids(said) == [("audit", "e-1"), ("bot", "e-1"), ("bot", "e-2")]
    assert said.json[1] == {
        "id": "e-1",
        "subscription": "bot",
        "topic": "support",
        "type": "message.received",
        "line": LINE,
        "chat": "chat-1",
        "accepted_at": DIED - 60_000,
        "first_attempt_at": DIED - 50_000,
        "died_at": DIED,
        "tries": 3,
        "status": 404,
        "reason": "rejected: status 404",
        "detail": "nothing here",
    }
    assert (said.json[2]["line"], said.json[2]["chat"], said.json[2]["status"]) == (None, None, None)


@pytest.mark.usefixtures("graves")
async def test_list_of_one_subscription() -> None:
    said = await dead("list", "--subscription", "bot", "--json")
    assert [row["id"] for row in said.json] == ["e-1", "e-2"]


@pytest.mark.usefixtures("graves")
async def test_list_of_one_event() -> None:
    assert ids(await dead("list", "--id", "e-1", "--json")) == [("audit", "e-1"), ("bot", "e-1")]
    assert (await dead("list", "--id", "e-1", "--subscription", "audit", "--json")).json[0]["subscription"] == "audit"
    assert (await dead("list", "--id", "nothing", "--json")).json == []


@pytest.mark.usefixtures("graves")
async def test_list_is_a_table_for_people() -> None:
    said = await dead("list")
    assert said.code == 0
    for text in (
        "Dead letters: 3",
        "e-2",
        "audit",
        "rejected: status 404",
    ):
        assert text in said.out


async def test_list_without_dead_letters(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert (await dead("list", "--json")).json == []
    assert "Dead letters: 0" in (await dead("list")).out


@pytest.mark.usefixtures("graves")
async def test_unknown_subscription_error_names_the_others() -> None:
    with pytest.raises(RelayError, match=r'no subscription "boot".*audit, bot'):
        await dead("list", "--subscription", "boot")
    said = await main_here("dead", "list", "--subscription", "boot")
    assert said.code == 1
    assert said.is_one_message_without_traceback()


async def test_missing_redis_url_is_exit_code_2() -> None:
    said = await main_here("dead", "list")
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert "REDIS_URL" in said.err


# --- show ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("graves")
async def test_show_has_the_body_as_well() -> None:
    said = await dead("show", "--subscription", "bot", "--id", "e-1", "--json")
    (letter,) = said.json
    assert letter["body"] == BODY
    assert letter["reason"] == "rejected: status 404"


@pytest.mark.usefixtures("graves")
async def test_show_prints_the_body_as_it_is() -> None:
    said = await dead("show", "--id", "e-1", "--subscription", "bot")
    assert BODY in said.out
    assert "rejected: status 404" in said.out


@pytest.mark.usefixtures("graves")
async def test_show_finds_nothing() -> None:
    said = await dead("show", "--id", "nothing")
    assert (said.code, said.out.strip()) == (1, "Nothing found.")


@pytest.mark.usefixtures("graves")
async def test_show_finds_nothing_in_json_either() -> None:
    said = await dead("show", "--id", "nothing", "--json")
    assert (said.code, said.json) == (1, [])


@pytest.mark.parametrize("command", ["list", "show"])
async def test_response_of_a_subscriber_is_not_read_as_markup(graves: Redis, command: str) -> None:
    await bury(graves, "bot", "e-3", dead_detail="<b>[/] oops", dead_reason="rejected: [/] oops")
    said = await dead(command, "--id", "e-3")
    assert "[/] oops" in said.out


async def test_show_prints_a_long_body_on_one_line(graves: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    body = json.dumps({"event_id": "e-4", "text": "word " * 40})
    await bury(graves, "bot", "e-4", body=body)
    assert body in (await dead("show", "--id", "e-4")).out


async def test_show_has_the_attempts_of_its_own_delivery(graves: Redis) -> None:
    died = BAD._replace(number=2, due_ms=None, dead="rejected: status 404")
    await remember(graves, "bot", BAD, "busy")
    await remember(graves, "bot", died, "nothing here")
    await remember(graves, "audit", GOOD)
    await remember(graves, "bot", BAD._replace(topic="another"))
    await remember(graves, "bot", BAD._replace(event_id="e-7"))
    (letter,) = (await dead("show", "--subscription", "bot", "--id", "e-1", "--json")).json
    assert [(attempt["attempt"], attempt["detail"], attempt["replay"]) for attempt in letter["attempts"]] == [
        (1, "busy", False),
        (2, "nothing here", False),
    ]
    (alone,) = (await dead("show", "--id", "e-2", "--json")).json
    assert alone["attempts"] == []
    said = await dead("show", "--subscription", "bot", "--id", "e-1")
    heading, columns, *_ = said.out[said.out.index("Its attempts") :].splitlines()
    assert (heading, columns.split()) == (
        "Its attempts, oldest first",
        ["time", "attempt", "outcome", "status", "took", "next", "step", "detail"],
    )
    assert "dead: rejected: status 404" in said.out


# --- replay --------------------------------------------------------------------------------------------


async def test_replay_sends_one_event_back_to_its_lane(graves: Redis) -> None:
    said = await dead("replay", "--subscription", "bot", "--id", "e-1", "--json")
    assert (said.code, said.json) == (0, {"replayed": 1, "subscriptions": {"bot": 1}})
    assert ids(await dead("list", "--json")) == [("audit", "e-1"), ("bot", "e-2")]
    ((_, fields),) = await graves.xrange(keys.lane("bot", "replay"))
    assert (fields[b"id"], fields[b"body"].decode(), fields[b"dead_topic"]) == (b"e-1", BODY, b"support")


async def test_replay_wakes_the_lane(graves: Redis) -> None:
    before = time.time() * 1000
    await dead("replay", "--subscription", "bot", "--all")
    partition = wakeups.partition_of("bot")
    ((lane, since),) = await graves.zrange(keys.ready(partition), 0, -1, withscores=True)
    assert lane == b"bot"
    assert before - 1 <= since <= time.time() * 1000 + 1
    assert await graves.zrange(keys.QUEUE, 0, -1) == [wakeups.deliver(partition).job_id.encode()]


@pytest.mark.usefixtures("graves")
async def test_replay_of_an_event_reaches_all_its_subscriptions() -> None:
    said = await dead("replay", "--id", "e-1", "--json")
    assert said.json == {"replayed": 2, "subscriptions": {"audit": 1, "bot": 1}}


async def test_replay_of_all_leaves_none(graves: Redis) -> None:
    said = await dead("replay", "--all", "--json")
    assert said.json == {"replayed": 3, "subscriptions": {"audit": 1, "bot": 2}}
    assert ids(await dead("list", "--json")) == []
    replayed = [fields[b"id"] for _, fields in await graves.xrange(keys.lane("bot", "replay"))]
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
    await graves.hset(keys.COUNTS, mapping={"accepted": 3, "routed": 3})  # type: ignore[misc]
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


@pytest.fixture
async def many(graves: Redis) -> Redis:
    """Besides the others: three of another type, line and time."""
    for n in range(3):
        await bury(graves, "bot", f"call-{n}", type="call.ended", line="+16465550124", dead_at=str(DIED + 60_000))
    return graves


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
