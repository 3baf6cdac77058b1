"""Pull over HTTP and streams, by a client of the API."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from relay.process.timings import Timings
from relay.web.api import streams
from tests.services.topics.pull.conftest import arrivals, context  # noqa: F401  fixtures
from tests.services.topics.pull.reading import CRM, STREAM, feed
from tests.support import eventually, hang_up
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from tests.web.api.streaming import Api

TIMINGS = Timings(stream_heartbeat=0.05, stream_check=0.05, stream_write=0.3)
EVENTS = "topics/support/groups/crm/events"


@pytest.fixture
async def api(context: Context, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:  # noqa: F811  the fixture
    monkeypatch.setattr(streams, "load_timings", lambda: TIMINGS)
    async with running_api(context, TIMINGS) as api:
        yield api


async def test_batches_are_received_and_acknowledged_by_cursor(redis: Redis, api: Api) -> None:
    body = '{"data": {"text": "caf\u00e9"}}'
    entries = await feed(redis, "a", "b", body=body)
    batch = await (await api.http.get(EVENTS, params={"wait": "5s"})).json()
    assert (batch["group"], batch["pending"], batch["missed"], batch["trimmed"]) == ("created", 2, 0, 0)
    assert batch["cursor"] == f"{entries[0]}_{batch['events'][1]['receipt']}" == f"{entries[0]}_{entries[1]}.1"
    first = batch["events"][0]
    assert (first["id"], first["body"], first["at"]) == ("a", body, "1970-01-01T00:00:00.001Z")
    await feed(redis, "c")
    batch = await (await api.http.get(EVENTS, params={"ack": batch["cursor"]})).json()
    assert ([event["id"] for event in batch["events"]], batch["pending"]) == (["c"], 1)
    await redis.xgroup_destroy(STREAM, "crm")
    batch = await (await api.http.get(EVENTS, params={"ack": batch["cursor"]})).json()
    assert ([event["id"] for event in batch["events"]], batch["group"]) == (["c"], "restored")


async def test_a_batch_costs_one_look_at_the_rules(redis: Redis, api: Api) -> None:
    """Also with the acknowledgement of the batch before: of 100 events, the looks were a fifth of the CPU time."""
    await feed(redis, "a", "b")
    batch = await (await api.http.get(EVENTS, params={"limit": "1"})).json()
    await redis.config_resetstat()
    batch = await (await api.http.get(EVENTS, params={"limit": "1", "ack": batch["cursor"]})).json()
    stats = await redis.info("commandstats")
    assert ([event["id"] for event in batch["events"]], batch["pending"]) == (["b"], 1)
    assert stats["cmdstat_evalsha"]["calls"] == 2
    assert stats["cmdstat_hgetall"]["calls"] == 2
    assert "cmdstat_smembers" not in stats


async def test_event_that_a_newer_release_wrote_is_passed_on(redis: Redis, api: Api) -> None:
    fields: Any = {"id": "a", "type": "x", "at": "1", "body": "{}", "source": "tomorrow"}
    await redis.xadd(STREAM, fields)
    [event] = (await (await api.http.get(EVENTS)).json())["events"]
    assert (event["id"], event["source"], event["deliveries"]) == ("a", "tomorrow", 1)


async def test_requests_that_wait_are_limited(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await api.http.get(EVENTS, params={"wait": "20ms"})).status == 200
    monkeypatch.setattr(streams, "MAX_POLLS_OF_TOKEN", 0)
    refused = await api.http.get(EVENTS, params={"wait": "20ms"})
    assert (refused.status, "0 requests that wait at a time" in await refused.text()) == (429, True)
    assert (await api.http.get(EVENTS)).status == 200


async def test_waiting_requests_beyond_the_limit_are_429_until_others_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_POLLS_OF_TOKEN", 3)
    monkeypatch.setattr(streams, "MAX_POLLS", 4)

    async def wait(group: str, token: str, seconds: float = 30) -> tuple[int, str]:
        url, headers = f"topics/support/groups/{group}/events", {"Authorization": f"Bearer {token}"}
        answer = await api.http.get(url, params={"wait": f"{seconds}s", "start": "$"}, headers=headers)
        return answer.status, await answer.text()

    async def fits(count: int) -> bool:
        return all(
            status == 200 for status, _ in await asyncio.gather(*(wait("crm", "crm", 0.2) for _ in range(count)))
        )

    waiting = [asyncio.create_task(wait("crm", "crm")) for _ in range(6)]
    await eventually(lambda: sum(task.done() for task in waiting) == 3)
    waiting += [asyncio.create_task(wait("ops", "ops")) for _ in range(3)]
    await eventually(lambda: sum(task.done() for task in waiting) == 5)
    refused = sorted(task.result() for task in waiting if task.done())
    assert {status for status, _ in refused} == {429}
    assert ["may have 3" in text for _, text in refused].count(True) == 3
    assert ["this relay serves 4" in text for _, text in refused].count(True) == 2
    assert (await api.http.get(EVENTS)).status == 200  # does not wait
    for task in waiting:
        task.cancel()
    await eventually(lambda: fits(3))
    assert not await fits(4)


async def test_events_are_acknowledged_extended_and_released(redis: Redis, api: Api) -> None:
    await feed(redis, "a", "b", "c")
    batch = await (await api.http.get(EVENTS)).json()
    a, b, c = (event["receipt"] for event in batch["events"])
    group = "topics/support/groups/crm"
    assert await (await api.http.post(f"{group}/ack", json={"receipts": [a]})).json() == {"done": 1, "not_done": []}
    answer = await api.http.post(f"{group}/extend", json={"receipts": [a, b], "visibility": "2h"})
    assert await answer.json() == {"done": 1, "not_done": [a]}
    answer = await api.http.post(f"{group}/release", json={"receipts": [c]})
    assert await answer.json() == {"done": 1, "not_done": []}
    batch = await (await api.http.get(EVENTS)).json()
    assert [(event["id"], event["deliveries"]) for event in batch["events"]] == [("c", 2)]
    assert (await (await api.http.post(f"{group}/ack", json={"up_to": c})).json())["done"] == 2
    answer = await api.http.post(f"{group}/ack", json={})
    assert (answer.status, (await answer.json())["errors"][0]["message"]) == (422, "give either receipts or up_to")


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("topics/sales/groups/crm/events", 404, 'no topic "sales" (known: support)'),
        ("topics/support/groups/bot/events", 404, 'no group "bot"'),
        (f"{EVENTS}?visibility=100ms", 422, "visibility: "),
        (f"{EVENTS}?ack=last", 422, 'ack: "last" is not a receipt'),
        ("topics/sales/events/stream", 404, 'no topic "sales" (known: support)'),
        ("topics/support/events/stream?after=x", 422, "not the id of an entry"),
        ("topics/support/events/stream?line=16465550123", 422, 'in E.164, such as "+16465550123"'),
        ("topics/support/events/stream?type=message.*.x", 422, "type: "),
        ("topics/support/events/stream?handle=5550123", 422, "neither a phone number with its country code"),
        ("topics/support/groups/bot/events/stream", 404, 'no group "bot"'),
    ],
)
async def test_mistakes_are_answered_before_a_stream_begins(api: Api, path: str, status: int, detail: str) -> None:
    answer = await api.http.get(path)
    problem = await answer.json(content_type="application/problem+json")
    assert (answer.status, problem["status"]) == (status, status)
    assert detail in problem["detail"]


async def test_poll_of_a_client_that_left_takes_no_events(redis: Redis, api: Api) -> None:
    await api.http.get(EVENTS)
    with pytest.raises(TimeoutError):
        await api.http.get(EVENTS, params={"wait": "30s"}, timeout=aiohttp.ClientTimeout(total=0.1))
    await feed(redis, "a")
    batch = await (await api.http.get(EVENTS, params={"wait": "5s", "member": "other"})).json()
    assert [event["id"] for event in batch["events"]] == ["a"]


async def test_stream_of_a_group_goes_on_as_events_are_acknowledged(redis: Redis, api: Api) -> None:
    await feed(redis, "a", "b", "c")
    async with api.events(f"{EVENTS}/stream?held=2") as messages:
        received = [(await anext(messages))[1] for _ in range(2)]
        assert [event["id"] for event in received] == ["a", "b"]
        await api.http.post("topics/support/groups/crm/ack", json={"receipts": [received[0]["receipt"]]})
        assert await messages.ids(1) == ["c"]


async def test_tail_resumes_by_last_event_id_with_each_event_once(redis: Redis, api: Api) -> None:
    path, got, last = "topics/support/events/stream?since=1h", [], None
    await feed(redis, *(f"e{number}" for number in range(6)))
    for _ in range(3):
        async with api.events(path, last) as messages:
            got += await messages.ids(2)
            last = messages.last_id
    await feed(redis, "e6")
    async with api.events(path, last) as messages:
        got += await messages.ids(1)
        await eventually(lambda: _has_comment(messages))
    assert got == [f"e{number}" for number in range(7)]
    assert await redis.xinfo_groups(STREAM) == []


async def _has_comment(messages: object) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await anext(messages)  # type: ignore[call-overload]
    except TimeoutError:
        pass
    return bool(messages.comments)  # type: ignore[attr-defined]


async def test_tail_moves_on_over_what_the_filter_leaves_out(redis: Redis, api: Api) -> None:
    *_, last = await feed(redis, "a", "b", event_type="message.sent")
    async with api.events("topics/support/events/stream?since=1h&type=reaction.*") as messages:
        await feed(redis, "c", event_type="reaction.added")
        assert await messages.ids(1) == ["c"]
        assert messages.last_id is not None
        assert messages.last_id > last


async def test_revoked_token_or_other_rights_end_its_streams(redis: Redis, api: Api) -> None:
    await feed(redis, "a")
    for change, reason in (
        ({"crm": replace(CRM, topics=frozenset())}, streams.OTHER_RIGHTS),
        ({}, streams.NOT_VALID),
    ):
        async with api.events("topics/support/events/stream?since=1h") as messages:
            assert await messages.ids(1) == ["a"]
            api.tokens.clear()
            api.tokens.update(change)
            assert await anext(messages) == ("end", {"reason": reason})
            assert [message async for message in messages] == []
        api.tokens["crm"] = CRM


async def test_stopping_process_ends_streams_and_polls_at_once(redis: Redis, context: Context) -> None:  # noqa: F811
    del redis
    async with running_api(context, TIMINGS) as api, api.events("topics/support/events/stream") as messages:
        poll = asyncio.create_task(api.http.get(EVENTS, params={"wait": "30s"}).__aenter__())
        await eventually(lambda: api.requests.count == 2)
        api.requests.end()
        assert await anext(messages) == ("end", {"reason": streams.STOPPING})
        assert (await asyncio.wait_for(poll, 20)).status == 200


async def test_streams_have_limits_for_a_token_and_in_total(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "topics/support/events/stream"
    monkeypatch.setattr(streams, "MAX_STREAMS_OF_TOKEN", 1)
    monkeypatch.setattr(streams, "MAX_STREAMS", 2)
    async with api.events(path):
        answer = await api.http.get(path)
        assert (answer.status, "a token may have 1" in await answer.text()) == (429, True)
        ops = {"Authorization": "Bearer ops"}
        api.tokens["more"] = replace(CRM, token="more", team="more")
        async with api.http.get(path, headers=ops):
            answer = await api.http.get(path, headers={"Authorization": "Bearer more"})
            assert (answer.status, "serves 2 streams" in await answer.text()) == (429, True)
    await eventually(lambda: _is_open(api, path))


async def _is_open(api: Api, path: str) -> bool:
    async with api.http.get(path) as answer:
        return answer.status == 200


async def test_slow_client_is_disconnected_and_holds_nothing(redis: Redis, api: Api) -> None:
    await feed(redis, *map(str, range(60)), body=json.dumps("x" * 100_000))
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the kernel may receive all for the client
    narrow.settimeout(0)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", api.port))
    reader, writer = await asyncio.open_connection(sock=narrow, limit=1024)
    head = f"GET /api/v1/{EVENTS}/stream?held=60&visibility=1h HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer crm\r\n\r\n"
    writer.write(head.encode())
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    taken: set[str] = set()

    async def is_pending() -> bool:
        return any(group["pending"] for group in await redis.xinfo_groups(STREAM))

    async def is_released() -> bool:
        answer = await api.http.get(EVENTS, params={"member": "other", "limit": "1000"})
        taken.update(event["id"] for event in (await answer.json())["events"])
        return len(taken) == 60

    await eventually(is_pending)
    await eventually(is_released)
    await hang_up(writer)
