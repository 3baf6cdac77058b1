"""Forms of the page do what the requests of the control API do, and show it."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from relay.sandbox.faults.models import FAULT_KINDS
from tests.sandbox.page.reading import get_page, submit
from tests.sandbox.running import LINE, LINES

if TYPE_CHECKING:
    from tests.sandbox.running import Endpoint, RunningSandbox


async def test_event_is_sent_with_the_given_fields(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    form = (await get_page(sandbox)).form("emit")
    form |= {
        "type": "message.received",
        "line": LINE,
        "text": "Hello <b>",
        "customer": "+12025550111",
        "is_group": "true",
    }
    page = await submit(sandbox, form | {"others": "a@example.com, +12025550112", "count": "2"})
    await sandbox.settled()
    assert "Sent 2 events to 1 subscription." in page.text
    for received in endpoint.received:
        assert received.json["data"]["parts"][0]["value"] == "Hello <b>"
        assert received.json["event_id"] in page.text
    curl = shlex.split(re.search(r"curl -d .+", page.text)[0])  # type: ignore[index]
    assert json.loads(curl[2])["others"] == ["a@example.com", "+12025550112"]
    assert page.form("emit")["text"] == "Hello <b>", "it can be sent again"


async def test_curl_of_a_result_does_the_same(sandbox: RunningSandbox) -> None:
    form = (await get_page(sandbox)).form("fault-late")
    page = await submit(sandbox, form | {"seconds": "2.5", "events": "message.*", "share": "0.5"})
    curl = shlex.split(re.search(r"curl -d .+", page.text)[0])  # type: ignore[index]
    async with sandbox.http.post(curl[3], data=curl[2]) as response:
        again = await response.json()
    first, second = (await sandbox.get("/sandbox/faults"))["faults"]
    assert second == again == first | {"id": 2}
    assert (first["seconds"], first["events"], first["share"]) == (2.5, ["message.*"], 0.5)


REQUIRED: dict[str, Any] = {
    "timestamp": {"offset": "-600"},
    "headers": {"only": "legacy"},
    "api_error": {"status": "429", "after": "true", "count": "2"},
    "api_slow": {"seconds": "0.5"},
    "api_answer": {"answer": "short"},
}


@pytest.mark.parametrize("kind", [kind for kind in FAULT_KINDS if kind != "disable"])
async def test_each_fault_has_a_form(sandbox: RunningSandbox, kind: str) -> None:
    form = (await get_page(sandbox)).form(f"fault-{kind}")
    page = await submit(sandbox, form | REQUIRED.get(kind, {}))
    assert "Fault 1 is active." in page.text
    assert [fault["kind"] for fault in (await sandbox.get("/sandbox/faults"))["faults"]] == [kind]
    assert "Removed fault 1" in (await submit(sandbox, page.form("fault-remove", id="1"))).text
    assert (await sandbox.get("/sandbox/faults"))["faults"] == []


async def test_buttons_of_the_tables(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(endpoint.url)
    await sandbox.fault("forge")
    await sandbox.emit()
    await sandbox.settled()
    page = await get_page(sandbox)
    assert "Disabled 1 sub" in (await submit(sandbox, page.form("fault-disable", subscription_id=made.id))).text
    assert not sandbox.sandbox.state.subscriptions[made.id].is_active
    await submit(sandbox, page.form("faults-remove"))
    await submit(sandbox, page.form("deliveries-forget"))
    await submit(sandbox, page.form("foreign"))
    await submit(sandbox, page.form("line-remove", line=LINE))
    await submit(sandbox, page.form("line-add") | {"line": "+16465550126"})
    state = await sandbox.get("/sandbox/state")
    assert (state["faults"], state["deliveries"], len(state["foreign_subscriptions"])) == ([], {}, 1)
    assert state["lines"] == [*LINES[1:], "+16465550126"]


@pytest.mark.parametrize(
    ("action", "given", "field", "text"),
    [
        ("fault-duplicate", {"times": "1"}, "times", "at least 2"),
        ("fault-duplicate", {"times": "many"}, "times", "a whole number"),
        ("fault-timestamp", {}, "offset", '"offset" is missing'),
        ("emit", {"type": "x", "data": "{"}, "data", "not JSON"),
        ("emit", {"type": "no.such"}, "type", "no built-in payload"),
        ("emit", {"type": "message.received", "code": "1"}, "code", "not an error code of Linq"),
        ("line-add", {"line": "123"}, "line", ""),
        ("line-add", {"line": LINE}, "line", "already a line"),
    ],
)
async def test_error_is_shown_at_its_field(
    sandbox: RunningSandbox, action: str, given: dict[str, str], field: str, text: str
) -> None:
    status = 409 if text == "already a line" else 400
    page = await submit(sandbox, (await get_page(sandbox)).form(action) | given, status)
    assert text in page.errors[f"{action}-{field}"]
    assert {name: page.form(action)[name] for name in given if name != "data"} == {
        name: value for name, value in given.items() if name != "data"
    }
    assert (await sandbox.get("/sandbox/state"))["faults"] == []


@pytest.mark.parametrize(
    ("form", "status", "text"),
    [
        ({"action": "fault-disable"}, 400, "give either subscription_id or line"),
        ({"action": "fault-remove", "id": "7"}, 404, "No active fault has this id"),
        ({"action": "fault-remove", "id": "x"}, 404, "No active fault has this id"),
        ({"action": "line-remove", "line": "+1"}, 404, "is not a line of this sandbox"),
        ({"action": "gremlin"}, 400, "is not a form of this page"),
        ({}, 400, "is not a form of this page"),
    ],
)
async def test_what_cannot_be_done_is_said(sandbox: RunningSandbox, form: Any, status: int, text: str) -> None:
    assert text in (await submit(sandbox, form, status)).text


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": "{url}"}],
)
async def test_forms_of_other_sites_are_refused(sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    sent = {name: value.format(url=sandbox.url) for name, value in headers.items()}
    async with sandbox.http.post(f"{sandbox.url}/sandbox", data={"action": "foreign"}, headers=sent) as response:
        assert response.status == 403
    assert (await sandbox.get("/sandbox/state"))["foreign_subscriptions"] == []
