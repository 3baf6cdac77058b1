"""The admin listener: what it says, and that a slow or greedy client cannot hold it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import Counter, Info
from structlog.testing import capture_logs

from relay.config import admin_address
from relay.config.admin_address import INGRESS, WORKER
from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.core.errors import RelayError
from relay.metrics.process_metrics import ProcessMetrics
from relay.net.listen_address import Listen
from relay.process.timings import DEFAULTS, Timings
from relay.web.admin.listener import listening_for_operators
from relay.web.admin.report import Identity, ObservedProcess
from relay.web.connections import Limits
from tests.support import TIMEOUT, eventually

if TYPE_CHECKING:
    from pathlib import Path

ANY_PORT = Settings(relay_admin_listen=Listen(host="127.0.0.1", port=0))
LARGE = "x" * 8_000_000  # more than the buffers of a connection hold


class Checks:
    """Checks whose results a test sets."""

    def __init__(self) -> None:
        self.results = {"redis": "ok"}

    async def checks(self) -> dict[str, str]:
        return self.results

    def facts(self) -> dict[str, Any]:
        return {"lines": 2}


def observed(checks: Checks | None = None, rules: ConfigFile | None = None) -> ObservedProcess:
    metrics = ProcessMetrics(WORKER)
    Counter("relay_tries", "Tries.", registry=metrics.registry).inc(3)
    Info("large", "Much text.", registry=metrics.registry).info({"text": LARGE})
    return ObservedProcess(Identity(WORKER, ANY_PORT, rules), checks or Checks(), metrics)


async def test_ready_names_cause_build_and_configuration(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('[[topics]]\nname = "all"\nevents = ["*"]\n')
    rules, checks = ConfigFile(file), Checks()
    async with (
        listening_for_operators(observed(checks, rules), ANY_PORT, WORKER) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        good = await http.get("/ready")
        report = await good.json()
        checks.results = {"redis": "unreachable: Connection refused"}
        file.write_text('[[topics]]\nname = "all"\nevents = ["a..b"]\n')
        rules.reload()
        bad = await http.get("/ready")
        refused = await bad.json()
        live, none = await http.get("/live"), await http.get("/none")
    assert (live.status, none.status) == (200, 404)
    for answer in (good, bad, live, none):
        assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert (good.status, report["ready"], report["role"], report["lines"]) == (200, True, "worker", 2)
    assert report["version"]
    assert report["revision"]
    assert report["uptime_s"] >= 0
    assert report["config"]["refused"] is None
    assert (bad.status, refused["checks"]) == (503, {"redis": "unreachable: Connection refused"})
    assert refused["config"]["fingerprint"] == report["config"]["fingerprint"]
    assert "relay.toml:3" in refused["config"]["refused"]["problems"][0]
    file.write_text('[[topics]]\nname = "all"\nevents = ["a.b"]\n')
    rules.reload()
    assert rules.report()["refused"] is None
    assert rules.report()["fingerprint"] != report["config"]["fingerprint"]


async def test_metrics_larger_than_the_buffers_arrive_whole() -> None:
    async with listening_for_operators(observed(), ANY_PORT, WORKER) as port, aiohttp.ClientSession() as http:
        response = await http.get(f"http://127.0.0.1:{port}/metrics")
        text = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "relay_tries_total 3.0" in text
    assert len(text) > len(LARGE)


async def test_slow_clients_are_disconnected() -> None:
    timings = Timings(request_head=0.05, request_body=0.1)
    begun = {
        "nothing": b"",
        "a part of a head": b"GET /ready HTTP/1.1\r\nHost:",
        "a part of a body": b"POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
    }
    async with listening_for_operators(observed(), ANY_PORT, WORKER, timings=timings) as port:
        for sent in begun.values():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(DEFAULTS.request_head - 1):
                await reader.read()
            writer.close()
        with capture_logs() as logs:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")  # and its response is not read
            await eventually(lambda: any("response too slowly" in line.get("reason", "") for line in logs))
            writer.close()


async def test_connections_are_limited() -> None:
    limits = Limits(connections=3)
    async with listening_for_operators(observed(), ANY_PORT, WORKER, limits=limits) as port, AsyncExitStack() as stack:
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in streams:
            stack.callback(writer.close)
        async with aiohttp.ClientSession() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/live")).status == 200
        assert await streams[0][0].read() == b""  # the oldest has made room


async def test_slow_bodies_make_room_for_other_requests() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    part = web.Application()
    part.router.add_post("/echo", answer)
    limits = Limits(connections=8)  # 4 of them for the portal
    async with (
        listening_for_operators(observed(), ANY_PORT, WORKER, limits=limits, portal={"/part": part}) as port,
        AsyncExitStack() as stack,
        aiohttp.ClientSession() as http,
    ):
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for _, writer in slow:
            stack.callback(writer.close)
            writer.write(b"POST /part/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        async with asyncio.timeout(TIMEOUT):
            assert await slow[0][0].read() == b""  # the fifth has made it end
        for text in ("one", "two"):
            async with http.post(f"http://127.0.0.1:{port}/part/echo", data=text) as response:
                assert (response.status, await response.text()) == (200, text)
        slow[4][1].write(b"12345678")
        async with asyncio.timeout(TIMEOUT):
            assert b"x12345678" in await slow[4][0].readuntil(b"x12345678")


async def test_clients_that_leave_amid_their_body_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    part = web.Application()
    part.router.add_post("/echo", answer)
    async with listening_for_operators(observed(), ANY_PORT, WORKER, portal={"/part": part}) as port:
        for begun in (b"GET /live", b"POST /part/echo"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
            writer.close()
    assert not caplog.records


@pytest.mark.parametrize(("host", "is_warned"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])  # noqa: S104
async def test_portal_on_every_address_is_warned_of(host: str, is_warned: bool) -> None:  # noqa: FBT001
    settings = Settings(relay_admin_listen=Listen(host=host, port=0))
    with capture_logs() as logs:
        async with listening_for_operators(observed(), settings, WORKER, portal={"/part": web.Application()}):
            pass
        async with listening_for_operators(observed(), settings, WORKER):
            pass
    warned = [line["note"] for line in logs if line["event"] == "admin.not_encrypted"]
    assert len(warned) == is_warned
    assert all("proxy with TLS" in note for note in warned)


async def test_taken_port_stops_a_role_but_not_a_second_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening_for_operators(observed(), ANY_PORT, INGRESS) as taken:
        monkeypatch.setattr(admin_address, "_DEFAULT_PORTS", {INGRESS: taken, WORKER: taken})
        with pytest.raises(RelayError, match=r"Address already in use .*RELAY_ADMIN_LISTEN"):
            async with listening_for_operators(observed(), Settings(), INGRESS):
                pass
        with capture_logs() as logs:
            async with listening_for_operators(observed(), Settings(), WORKER) as port:
                assert port is None
    assert [line["event"] for line in logs] == ["admin.not_listening"]
