from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from relay.consumer import consume
from relay.core.secret import SigningSecret
from relay.linq.signatures import v2
from relay.sandbox.app import Emission
from tests.building import OTHER_SECRET, SECRET
from tests.journeys.conftest import LINES
from tests.support import eventually

if TYPE_CHECKING:
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine

TYPES = ("message.received", "message.failed", "reaction.added", "chat.typing_indicator.started", "chat.created")


async def test_every_event_reaches_every_matching_team(running: Service) -> None:
    sent = {
        running.sandbox.emit(Emission(type=event_type, line=line))[0]: (event_type, line)
        for line in LINES
        for event_type in TYPES
        for _ in range(4)
    }
    expected_by_bot = {i for i, (kind, line) in sent.items() if kind.startswith("message.") and line != LINES[2]}
    await running.sandbox.deliveries.settled()
    sink = running.sink
    await eventually(lambda: len(sink.ids("/crm")) >= len(sent) and len(sink.ids("/bot")) >= len(expected_by_bot))
    assert sorted(sink.ids("/crm")) == sorted(sent)
    assert sorted(sink.ids("/bot")) == sorted(expected_by_bot)

    for received in sink.received:
        secret = SECRET if received.path == "/bot" else OTHER_SECRET
        Webhook(secret.text).verify(received.body, received.headers)
        kind, line = sent[received.headers["webhook-id"]]
        assert (received.headers["x-webhook-event"], received.headers["relay-line"]) == (kind, line)
        assert json.loads(received.body)["event_id"] == received.headers["webhook-id"]

    async def settled() -> dict[str, Any] | None:  # the responses are written a little later
        found: dict[str, Any] = json.loads(await running.run("ledger", "--json"))
        return found if all(row["waiting"] == 0 for row in found["subscriptions"]) else None

    ledger = await eventually(settled)
    assert ledger["balances"]
    assert ledger["totals"] | {"routed": 60} == ledger["totals"]
    assert {row["subscription"]: row["delivered"] for row in ledger["subscriptions"]} == {"bot": 16, "crm": 60}


async def test_pull_team_reads_its_stream_in_five_lines(running: Service) -> None:
    event_id, _ = running.sandbox.emit(Emission(type="message.received", line=LINES[0]))
    async with asyncio.timeout(10), consume(running.redis.url, topic="messages", group="billing") as events:
        async for event in events:
            assert (event.id, event.type, event.line) == (event_id, "message.received", LINES[0])
            assert event.json()["data"]["parts"][0]["type"] == "text"
            break


async def test_v2_webhook_is_delivered(running: Service) -> None:
    data = {"chat_id": "7", "chat_handles": [{"identifier": LINES[0], "is_me": True}]}
    body = json.dumps({"api_version": "v2", "event_type": "message.sent", "event_id": "v2-1", "data": data}).encode()
    async with aiohttp.ClientSession() as http:
        headers = v2.sign(SigningSecret("relay-v2-secret"), body)
        async with http.post(f"{running.url}/webhooks/linq/v2", data=body, headers=headers) as answer:
            assert answer.status == 200
    await eventually(lambda: running.sink.ids("/bot") == ["v2-1"])
    [received] = [received for received in running.sink.received if received.path == "/bot"]
    assert received.body == body
    assert received.headers["x-webhook-signature"] == v2.sign(SECRET, body)["X-Webhook-Signature"]


async def test_rules_are_reloaded_and_invalid_ones_refused(running: Service) -> None:
    good = running.rules.read_text()
    running.rules.write_text(good.replace('events = ["message.*"]', 'events = ["message.*", "call.ended"]'))
    await eventually(lambda: running.logged("config.reloaded"))
    running.rules.write_text(good + '\n[[topics]]\nname = "messages"\n')
    await eventually(lambda: running.logged("config.refused"))
    data = {"direction": "inbound", "from": "+13035550188", "to": LINES[0]}
    event_id, _ = running.sandbox.emit(Emission(type="call.ended", line=LINES[0], data=data))
    # The Linq subscriptions were registered before the topic matched calls: update them, as an operator would.
    await running.run("bootstrap", "plan", "--detailed-exitcode", code=2)
    running.rules.write_text(good.replace('events = ["message.*"]', 'events = ["message.*", "call.ended"]'))
    await running.run("bootstrap", "apply")
    event_id, _ = running.sandbox.emit(Emission(type="call.ended", line=LINES[0], data=data))
    await eventually(lambda: event_id in running.sink.ids("/bot"))


async def test_failing_team_is_retried_then_dead_letters_are_replayed(
    running: Service,
) -> None:
    works = False

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if works or received.path == "/crm" else 500)

    running.sink.answer = answer
    event_id, _ = running.sandbox.emit(Emission(type="message.received", line=LINES[0]))

    async def dead() -> list[dict[str, object]]:
        letters: list[dict[str, object]] = json.loads(await running.run("dead", "list", "--json"))
        return letters

    [letter] = await eventually(dead)
    assert (letter["id"], letter["subscription"], letter["tries"], letter["status"]) == (event_id, "bot", 5, 500)
    attempts = [received.at for received in running.sink.received if received.path == "/bot"]
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert all(gap >= 0.9 * expected for gap, expected in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True))
    works = True
    await running.run("dead", "replay", "--subscription", "bot", "--id", event_id)
    await eventually(lambda: len(running.sink.ids("/bot")) == 6)
    assert json.loads(await running.run("dead", "list", "--json")) == []
    assert json.loads(await running.run("ledger", "--json"))["balances"]

    async def history() -> list[dict[str, object]] | None:
        found = json.loads(await running.run("attempts", "--subscription", "bot", "--id", event_id, "--json"))
        return found if len(found) == 6 else None

    assert [
        (attempt["attempt"], attempt["replay"], attempt["status"]) for attempt in reversed(await eventually(history))
    ] == [
        *((number, False, 500) for number in range(1, 6)),
        (1, True, 200),
    ]
