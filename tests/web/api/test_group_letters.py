"""Dead letters of pull groups over the API: how a reader makes them, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.access.scopes import EVERY_SCOPE
from relay.process.timings import Timings
from tests.services.topics.pull.conftest import arrivals, context  # noqa: F401  fixtures
from tests.services.topics.pull.reading import CRM, STREAM, feed
from tests.support import KEYS
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from tests.web.api.streaming import Api

GROUP = "topics/support/groups/crm"
DEAD = f"{GROUP}/dead-letters"


@pytest.fixture
async def api(context: Context) -> AsyncIterator[Api]:  # noqa: F811  the fixture
    async with running_api(context, Timings()) as api:
        api.tokens["crm"] = replace(CRM, scopes=EVERY_SCOPE)
        yield api


async def test_event_is_rejected_replayed_rejected_and_dropped(redis: Redis, api: Api) -> None:
    [entry, _] = await feed(redis, "a", "b", body='{"n": 1}')
    batch = await (await api.http.get(f"{GROUP}/events")).json()
    receipts = [event["receipt"] for event in batch["events"]]
    answer = await api.http.post(f"{GROUP}/reject", json={"receipts": [*receipts, "1-0.1"], "error": "no customer"})
    assert await answer.json() == {"done": 2, "not_done": ["1-0.1"]}
    page = await (await api.http.get(DEAD, params={"limit": 1, "reason": "customer"})).json()
    [letter] = page["items"]
    assert (letter["event"], letter["reason"], letter["error"], letter["entry"], letter["deliveries"]) == (
        *("a", "rejected", "no customer", entry, 1),
    )
    [other] = (await (await api.http.get(DEAD, params={"cursor": page["next"]})).json())["items"]
    await redis.xdel(STREAM, other["entry"])
    found = [await (await api.http.get(f"{DEAD}/{each['id']}")).json() for each in (letter, other)]
    assert [(each["is_replayable"], each["body"]) for each in found] == [(True, '{"n": 1}'), (False, '{"n": 1}')]
    group = await (await api.http.get(GROUP)).json()
    assert (group["dead"], group["pending"], group["members"][0]["kind"]) == (2, 0, "http")

    expected = {"replayed": 1, "gone": [other["id"]]}
    for dry_run in (True, False):
        answer = await api.http.post(f"{DEAD}/replay", json={"all": True, "why": "repaired", "dry_run": dry_run})
        assert (answer.status, await answer.json()) == (200, expected)
    batch = await (await api.http.get(f"{GROUP}/events")).json()
    assert [(event["id"], event["deliveries"]) for event in batch["events"]] == [("a", 1)]

    answer = await api.http.post(f"{DEAD}/drop", json={"why": "x"})
    assert (answer.status, "choose with ids or a criterion" in await answer.text()) == (422, True)
    answer = await api.http.post(f"{DEAD}/drop", json={"ids": [other["id"]], "why": "gone"})
    assert await answer.json() == {"dropped": 1}
    assert (await api.http.get(f"{DEAD}/{other['id']}")).status == 404
    audit = await (await api.http.get("audit")).json()
    assert [(each["command"], each["target"]) for each in audit["items"]] == [
        ("dead drop", "support/crm"),
        ("dead replay", "support/crm"),
    ]


async def test_worn_out_event_is_told_and_limit_is_the_readers(redis: Redis, api: Api) -> None:
    await feed(redis, "a")
    for _ in range(2):
        batch = await (await api.http.get(f"{GROUP}/events", params={"max_deliveries": 2})).json()
        body = {"receipts": [batch["events"][0]["receipt"]]}
        assert (await (await api.http.post(f"{GROUP}/release", json={**body, "begun": False})).json())["done"] == 1
        batch = await (await api.http.get(f"{GROUP}/events", params={"max_deliveries": 0})).json()
        await api.http.post(f"{GROUP}/release", json={"receipts": [batch["events"][0]["receipt"]]})
    batch = await (await api.http.get(f"{GROUP}/events", params={"max_deliveries": 2})).json()
    assert (batch["events"], batch["dead"], batch["pending"]) == ([], 1, 0)
    assert (await api.http.get(f"{GROUP}/events", params={"max_deliveries": 1001})).status == 422


async def test_letters_of_a_deleted_group_are_kept_or_dropped(redis: Redis, api: Api) -> None:
    for number, fate in enumerate(("keep", "drop")):
        await feed(redis, f"e{number}")
        batch = await (await api.http.get(f"{GROUP}/events")).json()
        await api.http.post(f"{GROUP}/reject", json={"receipts": [each["receipt"] for each in batch["events"]]})
        assert (await api.http.delete(GROUP, params={"why": "not used", "dead": fate})).status == 204
        if fate == "keep":
            assert len((await (await api.http.get(DEAD)).json())["items"]) == 1
            answer = await api.http.post(f"{DEAD}/replay", json={"all": True, "why": "x"})
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, "support/crm was deleted or lost" in problem["detail"]) == (409, True)
    assert (await api.http.get(DEAD)).status == 404
    assert await redis.exists(KEYS.group_dead("support", "crm")) == 0
