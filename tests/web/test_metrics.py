"""The metrics of an ingress: each way that a request can end is counted once, whichever way it takes."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp

from relay.config.admin_address import INGRESS
from relay.config.settings import Settings
from relay.core.secret import SigningSecret
from relay.linq.signatures import v2
from relay.net.http_listener import listening
from relay.web.admin.app import admin_app
from relay.web.admin.report import Identity, ObservedProcess
from tests.building import OTHER_SECRET, body_of, signed
from tests.conftest import NOW
from tests.metrics.scrapes import scraped, series_of
from tests.support import eventually
from tests.web.conftest import ANY_PORT, V2_SECRET

if TYPE_CHECKING:
    from tests.metrics.scrapes import Series
    from tests.web.conftest import Running

PATH = "/webhooks/linq?line=16465550123"
BODY = body_of(event_id="e1")
COUNTED = ("relay_events_", "relay_requests_refused", "relay_accept_duration_seconds_count")


async def post_all(ingress: Running, port: int) -> None:
    """Send a request of each kind."""
    right, wrong = signed(BODY, NOW), signed(BODY, NOW, OTHER_SECRET)
    signed_v2 = v2.sign(SigningSecret(V2_SECRET), BODY)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        for path, body, headers, status in (
            *[(PATH, BODY, right, 200)] * 3,
            ("/webhooks/linq/v2", BODY, signed_v2, 200),
            ("/webhooks/linq/v2", b"another", signed_v2, 401),
            (PATH, BODY, wrong, 401),
            (PATH, b"{", signed(b"{", NOW, webhook_id="e2"), 200),
            (PATH, b"x" * (2**20 + 1), right, 413),
            ("/webhooks/linq/unknown", BODY, right, 404),
        ):
            assert (await http.post(path, data=BytesIO(body), headers=headers)).status == status
        ingress.parts.memory.refusal = "Redis is nearly full"
        assert (await http.post(PATH, data=BODY, headers=right)).status == 503
        ingress.parts.memory.refusal = None


async def disconnect(port: int) -> None:
    """Send a part of a request, and close the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(BODY, NOW).items())
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n{head}\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def test_each_end_of_a_request_is_counted_once(ingress: Running, way: str) -> None:
    async def counted() -> Series | None:
        found = await scraped(ingress.parts.metrics.process)
        done = 'relay_requests_refused_total{code="cut_off",status="none"}' in found
        return {name: value for name, value in found.items() if name.startswith(COUNTED)} if done else None

    async with ingress.listening(way) as port:
        await post_all(ingress, port)
        await disconnect(port)
        assert await eventually(counted) == {
            'relay_events_accepted_total{api="v2"}': 1,
            'relay_events_accepted_total{api="v3"}': 1,
            'relay_events_repeated_total{api="v2"}': 0,
            'relay_events_repeated_total{api="v3"}': 2,
            'relay_events_quarantined_total{api="v2"}': 0,
            'relay_events_quarantined_total{api="v3"}': 1,
            'relay_requests_refused_total{code="bad_signature",status="401"}': 2,
            'relay_requests_refused_total{code="too_large",status="413"}': 1,
            'relay_requests_refused_total{code="unknown_path",status="404"}': 1,
            'relay_requests_refused_total{code="store_unavailable",status="503"}': 1,
            'relay_requests_refused_total{code="cut_off",status="none"}': 1,
            "relay_accept_duration_seconds_count": 4,
        }


async def test_metrics_are_served_as_text_for_prometheus(ingress: Running) -> None:
    observed = ObservedProcess(Identity(INGRESS, Settings()), ingress.readiness, ingress.parts.metrics.process)
    async with listening(admin_app(observed), ANY_PORT) as port, aiohttp.ClientSession() as http:
        _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        await http.get(f"http://127.0.0.1:{ingress.port}/live")
        response = await http.get(f"http://127.0.0.1:{port}/metrics")
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert series_of(await response.text())["relay_connections"] >= 1
        assert (await http.get(f"http://127.0.0.1:{ingress.port}/metrics")).status == 404, "senders must not see it"
        writer.close()
