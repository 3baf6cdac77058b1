"""The POST of an alert: signed, under the egress rules, and with an error that says why it was not taken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from relay.alerts.post import PostError, post
from relay.core.config.egress import Egress
from relay.core.config.endpoint import Endpoint
from tests.building import OTHER_SECRET, SECRET
from tests.support import reserve_port
from tests.workers.conftest import Received, Sink, open_sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = b'{"text": "x"}'
UNSIGNED = Endpoint(())


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with open_sink() as sink:
        yield sink


async def test_webhook_is_signed_with_every_secret(sink: Sink) -> None:
    endpoint = Endpoint((SECRET, OTHER_SECRET), {"X-Team": "on-call"})
    await post(f"{sink.url}/alerts?x=1", endpoint, "alert_1", BODY, time.time())
    [received] = sink.received
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret.text).verify(received.body, received.headers) == {"text": "x"}
    assert received.headers.items() >= {"content-type": "application/json", "x-team": "on-call"}.items()


async def test_webhook_without_a_secret_has_only_its_id(sink: Sink) -> None:
    await post(sink.url, UNSIGNED, "alert_1", BODY, time.time())
    [received] = sink.received
    assert [name for name in received.headers if name.startswith("webhook-")] == ["webhook-id"]


async def test_failure_names_the_cause_but_no_secret_of_the_url(sink: Sink) -> None:
    async def redirect(_: Received) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"}, text="moved\nfor ever")

    sink.answer = redirect
    with pytest.raises(PostError) as caught:
        await post(f"{sink.url}/services/T0/secret", UNSIGNED, "alert_1", BODY, time.time())
    assert str(caught.value) == f"{sink.url} responds 302: moved for ever"
    assert len(sink.received) == 1
    port = reserve_port()
    with pytest.raises(PostError, match=f"http://127.0.0.1:{port} cannot be reached: Connection refused"):
        await post(f"http://user:secret@127.0.0.1:{port}/x", UNSIGNED, "alert_1", BODY, time.time())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_refused_destination_is_not_connected_to(sink: Sink, host: str) -> None:
    endpoint = Endpoint((), egress=Egress(allow=("10.0.0.0/8",)))
    with pytest.raises(PostError, match=r"refused: .* is not in allow of \[egress\]"):
        await post(f"http://{host}:{sink.port}", endpoint, "alert_1", BODY, time.time())
    assert not sink.received
