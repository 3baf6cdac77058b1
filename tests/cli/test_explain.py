"""`relay explain` beyond the topics: the subscriptions that get an event, and their state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.config.relay_toml import parse_config
from relay.core.config.topics import filtered_by, is_wanted
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from tests.cli.running import invoke, main_here
from tests.cli.test_explain_event import SAMPLES, sample
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

LINE, OTHER = "+16465550123", "+16465550124"
RULES = f"""
[[topics]]
name = "support"
events = ["reaction.*", "message.*"]
lines = ["{LINE}"]

[[topics]]
name = "everything"
events = ["*"]

[[topics]]
name = "calls"
events = ["call.*"]
""" + "".join(
    f'\n[[subscriptions]]\nname = "{name}"\ntopic = "{topic}"\nsecret = "env:S"\n'
    f'url = "https://u:hunter2@{name}.example.com:8443/in?token=hunter2"\n{more}'
    for name, topic, more in (
        ("bot", "support", ""),
        ("crm", "everything", 'events = ["message.*"]'),
        ("other", "everything", f'lines = ["{OTHER}"]'),
        ("phone", "calls", ""),
    )
)


@pytest.fixture
async def lanes(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """A paused subscription, and a pull group that is two events behind."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    await Lane(redis, "bot", "support").ensure()
    await Suspensions(redis).pause("bot", "database migration", 1)
    for _ in range(2):
        await redis.xadd(KEYS.topic("everything"), {"id": "e"})
    await redis.xgroup_create(KEYS.topic("everything"), "billing", "0")
    return redis


async def receivers(*options: str) -> dict[str, dict[str, Any]]:
    said = await main_here("explain", sample("v3-reaction.added"), "--json", *options)
    assert (said.code, said.json["redis_error"]) == (0, None)
    return {row["subscription"]: row for row in said.json["subscriptions"]}


@pytest.mark.usefixtures("lanes")
async def test_subscriptions_of_the_matching_topics_are_shown() -> None:
    found = await receivers("--line", LINE)
    assert {name: (row["kind"], row["receives"], row["state"]) for name, row in found.items()} == {
        "bot": ("push", "yes", "paused: database migration"),
        "crm": ("push", "no", "not started yet"),
        "other": ("push", "no", "not started yet"),
        "billing": ("pull", "yes", "2 events behind"),
    }
    assert found["crm"]["why_not"] == ["type reaction.added matches none of message.*"]
    assert found["other"]["why_not"] == [f"line {LINE} is not one of {OTHER}"]
    assert (found["bot"]["to"], found["billing"]["to"]) == ("https://bot.example.com:8443", None)


@pytest.mark.usefixtures("lanes")
async def test_event_routed_by_its_url_is_not_called_unmatched() -> None:
    found = await receivers()
    assert {name: row["receives"] for name, row in found.items()} == {
        "bot": "depends on the line",
        "crm": "no",
        "other": "depends on the line",
        "billing": "yes",
    }
    said = await main_here("explain", sample("v3-reaction.added"))
    assert f"only for {LINE}, and the event proves no line" in said.out
    assert "Linq's request does, in its URL: give that line with --line." in said.out
    assert "unknown" not in said.out


async def test_without_redis_topics_and_push_are_still_shown(no_redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("relay.toml").write_text(RULES)
    for url in (no_redis, ""):
        monkeypatch.setenv("REDIS_URL", url)
        said = await main_here("explain", sample("v3-message.received"))
        assert said.code == 0
        assert "https://crm.example.com:8443" in said.out
        assert "States and pull subscribers are not shown, because Redis cannot be asked: " in said.out


def test_each_condition_is_shown_with_its_outcome() -> None:
    rules = '[[topics]]\nname = "t"\nevents = ["*"]\napi = "v3"\nhas_media = true\nwhere = "data.service"\n'
    Path("relay.toml").write_text(rules)
    shown = invoke("explain", sample("v3-message.received"), "--json").json["conditions"]["t"]
    assert [tuple(each.values()) for each in shown] == [
        ("api", "v3", True, None),
        ("has_media", "true", False, "has_media is false, not true"),
        (
            "where",
            "data.service",
            False,
            "where has no result, since it yields a text, not true or false: data.service",
        ),
    ]
    assert "has_media is false" in invoke("explain", sample("v3-message.received")).out


def test_the_account_of_the_url_is_given() -> None:
    rules = '[[topics]]\nname = "t"\nevents = ["*"]\naccount = "sales"\n'
    Path("relay.toml").write_text(f'{rules}[[linq.accounts]]\nname = "sales"\nkey = "env:SALES_KEY"\n')
    file = sample("v3-message.received")
    without = invoke("explain", file)
    assert "give one of [[linq.accounts]] with --account" in without.out
    assert invoke("explain", file, "--json").json["topics"] == []
    given = invoke("explain", file, "--account", "sales", "--json").json
    assert (given["topics"], given["event"]["account"]) == (["t"], "sales")
    assert "--account" not in invoke("explain", file, "--account", "sales").out
    wrong = invoke("explain", file, "--account", "sale")
    assert (wrong.code, 'no account "sale"; there are sales' in " ".join(wrong.err.split())) == (2, True), wrong.err


@pytest.mark.usefixtures("lanes")
async def test_line_of_another_account_is_not_proved_by_the_payload() -> None:
    accounts = f'[[linq.accounts]]\nname = "sales"\nkey = "env:SALES_KEY"\nlines = ["{LINE}"]\n'
    Path("relay.toml").write_text(RULES + accounts)
    file = sample("v3-message.received")
    of_sales = (await main_here("explain", file, "--account", "sales", "--json")).json
    assert (of_sales["event"]["line"], of_sales["topics"]) == (LINE, ["support", "everything"])
    of_the_other = (await main_here("explain", file, "--json")).json
    assert (of_the_other["event"]["line"], of_the_other["topics"]) == (None, ["everything"])
    said = " ".join((await main_here("explain", file)).out.split())
    assert f"The body names {LINE}, which is not known as a line of the account without a name" in said
    by_url = (await main_here("explain", file, "--line", LINE, "--json")).json
    assert by_url["topics"] == ["support", "everything"]


def test_reasons_and_the_filter_of_a_delivery_agree() -> None:
    rules = RULES.replace('events = ["message.*"]', 'events = ["message.*"]\napi = "v2"')
    for path in SAMPLES:
        for line in (None, LINE, OTHER):
            event = decode_sample(path, line)
            for subscription in parse_config(rules).subscriptions:
                wanted = is_wanted(subscription, event.type, event.line, event.freshness, event.version)
                assert wanted is not bool(filtered_by(subscription, event))


def decode_sample(path: Path, line: str | None) -> Any:
    return decode(Dialect(path.name[:2]), path.read_bytes(), line).event
