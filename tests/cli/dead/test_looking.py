"""`relay dead list` and `relay dead show`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import RelayError
from tests.cli.attempting import BAD, GOOD, remember
from tests.cli.dead.conftest import BODY, DIED, LINE, bury, dead, ids
from tests.cli.running import main_here

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

# --- list ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("graves")
async def test_list_shows_every_dead_letter_with_details() -> None:
    said = await dead("list", "--json")
    assert said.code == 0
    assert ids(said) == [("bot", "e-1"), ("bot", "e-2"), ("audit", "e-1")]
    assert said.json[0] == {
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
    assert (said.json[1]["line"], said.json[1]["chat"], said.json[1]["status"]) == (None, None, None)


@pytest.mark.usefixtures("graves")
async def test_list_of_one_subscription() -> None:
    said = await dead("list", "--subscription", "bot", "--json")
    assert [row["id"] for row in said.json] == ["e-1", "e-2"]


@pytest.mark.usefixtures("graves")
async def test_list_of_one_event() -> None:
    assert ids(await dead("list", "--id", "e-1", "--json")) == [("bot", "e-1"), ("audit", "e-1")]
    assert (await dead("list", "--id", "e-1", "--subscription", "audit", "--json")).json[0]["subscription"] == "audit"
    assert (await dead("list", "--id", "nothing", "--json")).json == []


@pytest.mark.usefixtures("graves")
async def test_list_goes_on_at_its_cursor() -> None:
    first = await main_here("dead", "list", "--limit", "2", "--json")
    assert ids(first) == [("bot", "e-1"), ("bot", "e-2")]
    [cursor] = re.findall(r"^There are more; continue with --cursor (\S+)$", first.err, re.MULTILINE)
    rest = await main_here("dead", "list", "--limit", "2", "--cursor", cursor, "--json")
    assert (ids(rest), rest.err) == ([("audit", "e-1")], "")


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
