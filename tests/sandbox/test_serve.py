"""The sandbox as a process: serving until a signal, and simulated conversations."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import linq
import pytest

from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.sandbox.serve import serve_sandbox
from tests.sandbox.running import ANY_PORT, API_KEY, LINES, QUICK, Endpoint
from tests.support import TIMEOUT, eventually


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_serves_until_a_signal(stop: signal.Signals) -> None:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_sandbox(ANY_PORT, LINES, API_KEY, port.set_result, allow_local=False, speed=QUICK, rate=0, seed=1)
    )
    base_url = f"http://127.0.0.1:{await port}"
    async with linq.AsyncLinqAPIV3(api_key=API_KEY, base_url=base_url, max_retries=0) as client:
        assert len((await client.phone_numbers.list()).phone_numbers) == len(LINES)
        signal.raise_signal(stop)
        await asyncio.wait_for(serving, TIMEOUT)
        with pytest.raises(linq.APIConnectionError):
            await client.phone_numbers.list()


async def test_simulates_conversations_at_a_rate(endpoint: Endpoint) -> None:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_sandbox(ANY_PORT, LINES, API_KEY, port.set_result, allow_local=True, speed=QUICK, rate=500, seed=1)
    )
    base_url = f"http://127.0.0.1:{await port}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as http:
        target = {"target_url": endpoint.url, "subscribed_events": KNOWN_EVENT_TYPES}
        async with http.post(f"{base_url}/v3/webhook-subscriptions", json=target) as response:
            assert response.status == 201
        await eventually(lambda: len(endpoint.received) > 20)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(serving, TIMEOUT)
    types = {request.json["event_type"] for request in endpoint.received}
    assert {"message.received", "message.sent"} <= types
