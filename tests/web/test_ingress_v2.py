"""Webhooks of Linq's v2 API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from relay.core.secret import SigningSecret
from relay.linq.signatures import standard, v2
from tests.building import SECRET
from tests.conftest import NOW
from tests.web.conftest import V2_FORMER_SECRET, V2_SECRET, inbox

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.web.conftest import Running


def v2_body(event_id: str = "e1") -> bytes:
    return json.dumps({"api_version": "v2", "event_type": "message.read", "event_id": event_id, "data": {}}).encode()


async def test_v2_webhook_is_accepted_without_a_line(ingress: Running, redis: Redis) -> None:
    body = v2_body()
    response = await ingress.http.post(
        "/webhooks/linq/v2?x=y", data=body, headers=v2.sign(SigningSecret(V2_SECRET), body)
    )
    assert (response.status, await response.read()) == (200, b"")
    [entry] = await inbox(redis)
    assert (entry[b"dialect"], entry[b"line"], entry[b"webhook_id"], entry[b"body"]) == (b"v2", b"", b"e1", body)


async def test_old_v2_secret_is_accepted_during_a_change(ingress: Running, redis: Redis) -> None:
    for event_id, secret in (("e1", V2_FORMER_SECRET), ("e2", V2_SECRET)):
        body = v2_body(event_id)
        headers = v2.sign(SigningSecret(secret), body)
        assert (await ingress.http.post("/webhooks/linq/v2", data=body, headers=headers)).status == 200
    assert len(await inbox(redis)) == 2


V2_SIGNATURE = v2.sign(SigningSecret(V2_SECRET), v2_body())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Webhook-Signature": ""},
        {"X-Webhook-Signature": "sha256="},
        {"X-Webhook-Signature": "sha256=" + "0" * 64},
        {
            "X-Webhook-Signature": v2.sign(SigningSecret(V2_SECRET), v2_body())["X-Webhook-Signature"].removeprefix(
                "sha256="
            )
        },
        v2.sign(SigningSecret("another"), v2_body()),
        v2.sign(SigningSecret(V2_SECRET), v2_body("e2")),
        standard.sign(SECRET, "e1", int(NOW), v2_body()),
    ],
)
async def test_forged_v2_webhook_gets_401(ingress: Running, redis: Redis, headers: dict[str, str]) -> None:
    response = await ingress.http.post("/webhooks/linq/v2", data=v2_body(), headers=headers)
    assert response.status == 401
    assert await inbox(redis) == []
