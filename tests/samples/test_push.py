"""The push handlers of deploy/samples behind the real relay: what they accept, refuse and handle once."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.linq.signatures import standard
from relay.sandbox.app import Emission
from tests.building import OTHER_SECRET, SECRET, body_of
from tests.journeys.conftest import LINES, Service, open_service
from tests.samples.handlers import ROOT, SAMPLES, Handler, handler_of
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.core.secret import SigningSecret
    from tests.on_cluster import Store

HANDLERS = [
    "fastapi",
    pytest.param("express", marks=pytest.mark.needs_tool("npm")),
    pytest.param("go-push", marks=pytest.mark.needs_tool("go")),
]
RULES = """
[linq]
account = false

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "sample"
topic = "everything"
url = "{url}"
secret = [{secrets}]
retry = ["100ms", "200ms", "400ms", "800ms", "1s", "1s", "1s"]
"""

Request = tuple[dict[str, str], bytes]


@pytest.fixture
async def service(tmp_path: Path, store: Store) -> AsyncIterator[Service]:
    async with open_service(tmp_path, store) as service:
        yield service


async def subscribe(service: Service, handler: Handler, *secrets: SigningSecret) -> None:
    """Write the rules and, if the relay runs, wait until its worker follows them."""
    loaded = service.logged("config.reloaded")
    texts = ", ".join(f'"{secret.text}"' for secret in secrets)
    new = service.rules.with_suffix(".new")
    new.write_text(RULES.format(url=handler.url, secrets=texts))
    new.replace(service.rules)
    if service.processes:
        await eventually(lambda: service.logged("config.reloaded") > loaded)


async def start(service: Service) -> None:
    await service.bootstrap()
    await service.start("ingress")
    await service.start(module="workers")
    await eventually(service.is_ready)
    await eventually(lambda: service.logged("worker.started"))


async def deliver(service: Service, handler: Handler, count: int) -> list[str]:
    """Have Linq send events, and wait until the handler has handled each."""
    sent = [service.sandbox.emit(Emission(type="message.received", line=LINES[0]))[0] for _ in range(count)]
    await eventually(lambda: set(sent) <= set(handler.handled))
    return sent


async def post(handler: Handler, headers: dict[str, str], body: bytes) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.post(handler.url, data=body, headers={"Content-Type": "application/json", **headers}) as response,
    ):
        return response.status


def signed(event_id: str, secret: SigningSecret = SECRET, age: int = 0, body: bytes | None = None) -> Request:
    body = body or body_of(event_id=event_id)
    return standard.sign(secret, event_id, int(time.time()) - age, body), body


def forgeries() -> dict[str, Request]:
    """Return requests that the relay did not send, or not now."""
    headers, body = signed("forged")
    return {
        "tampered body": (headers, body.replace(b"chat-1", b"chat-2")),
        "another event's id": ({**headers, "webhook-id": "other"}, body),
        "wrong secret": signed("forged", OTHER_SECRET),
        "old timestamp": signed("forged", age=600),
        "future timestamp": signed("forged", age=-600),
        "later timestamp": ({**headers, "webhook-timestamp": str(int(time.time()) + 1)}, body),
        "no headers": ({}, body),
        "no timestamp": ({**headers, "webhook-timestamp": "now"}, body),
        "no signature": ({**headers, "webhook-signature": "garbage"}, body),
        "not base64": ({**headers, "webhook-signature": "v1,a"}, body),
        "not text": (headers, b"\xff\xfe"),
        "not JSON": signed("forged", body=b"no JSON"),
        "no object": signed("forged", body=b"[1]"),
        "empty": (headers, b""),
    }


@pytest.mark.background
@pytest.mark.slow
@pytest.mark.timeout(400)  # the first one installs packages
@pytest.mark.parametrize("name", HANDLERS)
async def test_handler_takes_each_event_of_the_relay_once(name: str, service: Service, tmp_path: Path) -> None:
    handler = handler_of(name, tmp_path / name)
    await subscribe(service, handler, SECRET)
    async with handler.running(SECRET.text):
        await start(service)
        sent = await deliver(service, handler, 5)
        for what, (headers, body) in forgeries().items():
            status = await post(handler, headers, body)
            assert 400 <= status < 500, (what, status, handler.output)
        for event_id in (sent[0], "new", "new"):
            assert await post(handler, *signed(event_id)) == 204
        assert sorted(handler.handled) == sorted([*sent, "new"])

        # A rotation: the relay signs with both secrets, so the team can change at any time.
        await subscribe(service, handler, OTHER_SECRET, SECRET)
        await deliver(service, handler, 2)
    async with handler.running(OTHER_SECRET.text):
        await deliver(service, handler, 2)
        await subscribe(service, handler, OTHER_SECRET)
        await deliver(service, handler, 2)
        assert await post(handler, *signed("former", SECRET)) == 401
    # Or the team knows both first.
    async with handler.running(f"{SECRET.text} {OTHER_SECRET.text}"):
        await deliver(service, handler, 2)
        assert await post(handler, *signed("former", SECRET)) == 204
    async with service.redis.client() as redis:
        assert not any([await shard.xlen(shard.key.lane("sample", "dead")) for shard in redis.shards])


def test_fastapi_sample_is_locked_to_what_the_tests_run() -> None:
    def pins(file: Path) -> set[str]:
        return set(re.findall(r"^\S+==\S+", file.read_text(), re.MULTILINE))

    assert pins(SAMPLES / "fastapi/requirements.txt") <= pins(ROOT / "tests/requirements.lock")
