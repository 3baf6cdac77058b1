"""Secrets, headers and TLS of an endpoint, as its subscriber sees them."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import time
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from relay.core.config.endpoint import Endpoint
from relay.core.delivery.outcome import Outcome
from relay.store.lanes.lane import Lane
from tests.building import OTHER_SECRET, SECRET
from tests.certificates import Authority, tls_server
from tests.support import eventually
from tests.workers.conftest import rules_for
from tests.workers.delivering import delivering, feed
from tests.workers.transport.test_sender import attempted, delivery, subscription
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.core.delivery.outcome import Attempt
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with ConnectionPools() as connections:
        yield Sender(connections, time.time)


async def attempt(sender: Sender, url: str, endpoint: Endpoint) -> Attempt:
    return attempted(await sender.sender_for(subscription(url), endpoint).attempt(delivery(b"{}"), 1))


async def test_headers_and_authorization_arrive(sender: Sender, sink: Sink) -> None:
    headers = {"X-Team": "crm", "Authorization": "Bearer t0ken"}
    await attempt(sender, sink.url, Endpoint((SECRET,), headers))
    [received] = sink.received
    assert (received.headers["x-team"], received.headers["authorization"]) == ("crm", "Bearer t0ken")


async def test_both_secrets_verify_during_a_rotation(sender: Sender, sink: Sink) -> None:
    await attempt(sender, sink.url, Endpoint((OTHER_SECRET, SECRET)))
    [received] = sink.received
    for secret in (OTHER_SECRET, SECRET):
        Webhook(secret.text).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "YWJj" * 11).verify(received.body, received.headers)
    signed = received.headers["x-webhook-timestamp"].encode() + b"." + received.body
    older = hmac.new(OTHER_SECRET.text.encode(), signed, hashlib.sha256).hexdigest()
    assert received.headers["x-webhook-signature"] == older


async def test_certificate_is_accepted_if_its_authority_is_known(sender: Sender, tmp_path: Path) -> None:
    authority = Authority()
    endpoints = {
        "the system's authorities": Endpoint((SECRET,)),
        "another authority": Endpoint((SECRET,), ca=Authority().pem),
        "its own authority": Endpoint((SECRET,), ca=authority.pem),
        "none is asked for": Endpoint((SECRET,), verify_tls=False),
    }
    async with tls_server(authority, tmp_path) as (url, _):
        made = {name: await attempt(sender, url, endpoint) for name, endpoint in endpoints.items()}
    assert {name: attempted.outcome for name, attempted in made.items()} == {
        "the system's authorities": Outcome.UNREACHABLE,
        "another authority": Outcome.UNREACHABLE,
        "its own authority": Outcome.DELIVERED,
        "none is asked for": Outcome.DELIVERED,
    }
    assert "certificate" in made["another authority"].detail


async def test_certificate_for_another_name_is_rejected(sender: Sender, tmp_path: Path) -> None:
    authority = Authority()
    endpoint = Endpoint((SECRET,), ca=authority.pem)
    async with tls_server(authority, tmp_path) as (url, _):
        made = await attempt(sender, url.replace("127.0.0.1", "localhost"), endpoint)
    assert made.outcome is Outcome.UNREACHABLE


async def test_lanes_with_equal_trust_share_a_connection(sender: Sender, tmp_path: Path) -> None:
    authority = Authority()
    async with tls_server(authority, tmp_path) as (url, connections):
        for _ in range(3):
            made = await attempt(sender, url, Endpoint((SECRET,), ca=authority.pem))
            assert made.outcome is Outcome.DELIVERED
        assert len(connections) == 1
        await attempt(sender, url, Endpoint((SECRET,), verify_tls=False))
        assert len(connections) == 2


async def test_changed_header_is_sent_by_a_running_lane(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    numbers = itertools.count()

    async def teams_sent() -> set[str | None]:
        await feed(redis, lane, f"e{next(numbers)}")
        return {post.headers.get("x-team") for post in sink.received}

    async with delivering(redis, rules, "bot"):
        await eventually(teams_sent)
        rules_file.write_text(rules_for(sink, bot='headers = { "X-Team" = "crm" }'))
        rules.reload()

        async def is_sent() -> bool:
            return "crm" in await teams_sent()

        await eventually(is_sent)
