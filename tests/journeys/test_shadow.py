"""A team moves to a new service: a shadow gets the same events, the two are compared, and the url is switched."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from relay.sandbox.app import Emission
from tests.journeys.conftest import LINES
from tests.support import eventually, hash_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine

SHADOW = """
[[subscriptions]]
name = "bot-v2"
shadow_of = "bot"
compare = "body"
url = "{sink}/v2"
secret = "env:BOT_SECRET"
retry = ["100ms"]
"""


async def test_a_team_moves_to_a_new_service(running: Service) -> None:
    sink, broken = running.sink, set[str]()

    async def answer(received: Received) -> web.Response:
        await asyncio.sleep(0)
        if received.path == "/v2" and received.headers["webhook-id"] in broken:
            return web.Response(status=500, text="no such handler")
        return web.json_response({"ok": True, "by": "bot"} if received.path != "/v2" else {"by": "bot", "ok": True})

    sink.answer = answer
    before = running.rules.read_text()
    running.rules.write_text(before + SHADOW.format(sink=sink.url))
    await eventually(lambda: _has_lane(running, "bot-v2"))

    async def emit() -> str:
        event_id, _ = running.sandbox.emit(Emission(type="message.received", line=LINES[0]))
        await eventually(lambda: event_id in sink.ids("/bot") and event_id in sink.ids("/v2"))
        return event_id

    async def report(code: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await running.run("shadow", "report", "bot-v2", "--json", code=code))
        return found

    for _ in range(4):
        await emit()
    await eventually(lambda: _is_settled(running, 4))
    same = await report(0)
    assert (same["agreement"], same["compared"], same["same_answer"], same["open"]) == (1.0, 4, 4, 0)

    event_id, _ = running.sandbox.emit(Emission(type="message.received", line=LINES[0]))
    broken.add(event_id)
    await eventually(lambda: sink.ids("/v2").count(event_id) == 2)
    await eventually(lambda: _is_settled(running, 5))
    found = await report(1)
    [differing] = found["differences"]
    assert (found["compared"], found["agreement"], differing["id"]) == (5, 0.8, event_id)
    assert differing["differs"] == ["outcome", "status", "answer"]
    assert (differing["original"]["status"], differing["shadow"]["status"]) == (200, 500)
    assert (differing["shadow"]["attempts"], differing["shadow"]["answer"]) == (2, "no such handler")
    text = await running.run("shadow", "report", "bot-v2", code=1)
    assert "4 of 5" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "bot-v2" in await running.run("subscriptions", "list", code=0)  # its dead letter needs no operator

    running.rules.write_text(before.replace(f"{sink.url}/bot", f"{sink.url}/v2"))  # the switch

    def paths(event_id: str) -> set[str]:
        posts = [post for post in sink.received if post.headers["webhook-id"] == event_id]
        return {post.path for post in posts if post.path != "/crm" and "relay-shadow-of" not in post.headers}

    async def is_switched() -> bool:
        event_id, _ = running.sandbox.emit(Emission(type="message.received", line=LINES[0]))
        return bool(await eventually(lambda: paths(event_id)) == {"/v2"})

    await eventually(is_switched)
    assert json.loads(await running.run("ledger", "--json"))["balances"]


async def _has_lane(running: Service, name: str) -> bool:
    async with running.redis.client() as redis:
        return bool(await redis.exists(redis.key.lane(name)))


async def _is_settled(running: Service, number: int) -> bool:
    async with running.redis.client() as redis:
        return [await _settled(redis, name) for name in ("bot", "bot-v2")] == [number, number]


async def _settled(redis: Redis, name: str) -> int:
    lanes = [await hash_of(shard, shard.key.lane(name)) for shard in redis.shards]
    return sum(int(lane.get("delivered", 0)) + int(lane.get("died", 0)) for lane in lanes)
