from __future__ import annotations

import asyncio
import gzip
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.core.secret import SigningSecret
from relay.linq.signatures import standard, v3_legacy
from relay.store.inbox.memory_guard import memory_of
from relay.store.inbox.quarantine import Quarantine
from relay.store.keyring import key_cache
from tests.building import LINE, OTHER_SECRET, SECRET, body_of, signed
from tests.conftest import NOW
from tests.support import KEYS, eventually, hang_up, hash_of
from tests.web.conftest import inbox
from tests.web.wire import request_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis
    from tests.web.conftest import Running

MIB = 1024 * 1024


# --- accepted webhooks ------------------------------------------------------------------------------


async def test_durable_webhook_gets_an_empty_200(ingress: Running, redis: Redis) -> None:
    body = body_of(event_id="e1")
    response = await ingress.post(body, signed(body, NOW), "version=2026-02-03&line=16465550123&gen=1&anything=else")
    assert (response.status, await response.read()) == (200, b"")
    [entry] = await inbox(redis)
    assert (entry[b"id"], entry[b"line"], entry[b"dialect"], entry[b"body"]) == (b"e1", LINE.encode(), b"v3", body)


async def test_body_is_stored_byte_for_byte(ingress: Running, redis: Redis) -> None:
    body = '{ "event_type":"x.y",\n\t"event_id" : "e1", "data": {"text": "h\\u00e9 \\ud83d\\ude00 é 😀"} }\r\n'.encode()
    assert (await ingress.post(body, signed(body, NOW))).status == 200
    assert (await inbox(redis))[0][b"body"] == body


async def test_older_headers_alone_are_enough(ingress: Running, redis: Redis) -> None:
    body = body_of(event_id="e1")
    assert (await ingress.post(body, v3_legacy.sign(SECRET, int(NOW), body))).status == 200
    assert (await inbox(redis))[0][b"webhook_id"] == b"e1"


async def test_standard_headers_alone_are_enough(ingress: Running, redis: Redis) -> None:
    body = body_of(event_id="e1")
    assert (await ingress.post(body, standard.sign(SECRET, "msg_another", int(NOW), body))).status == 200
    assert (await inbox(redis))[0][b"webhook_id"] == b"msg_another"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/cloudevents+json", "application/x-www-form-urlencoded"]
)
async def test_signed_body_of_any_content_type_is_accepted(ingress: Running, content_type: str) -> None:
    body = body_of()
    response = await ingress.post(body, {**signed(body, NOW), "Content-Type": content_type})
    assert response.status == 200


async def test_compressed_body_is_verified_as_sent(ingress: Running) -> None:
    body = gzip.compress(body_of())
    headers = {**standard.sign(SECRET, "x", int(NOW), body), "Content-Encoding": "gzip"}
    response = await ingress.http.post("/webhooks/linq?line=16465550123", data=body, headers=headers)
    assert response.status == 200  # signed by Linq but not an envelope: quarantined


async def test_concurrent_copies_are_stored_once(ingress: Running, redis: Redis) -> None:
    body = body_of()
    responses = await asyncio.gather(*(ingress.post(body, signed(body, NOW)) for _ in range(50)))
    assert {response.status for response in responses} == {200}
    assert len(await inbox(redis)) == 1
    assert await hash_of(redis, KEYS.counts) == {"accepted": "1", "duplicate": "49"}


@pytest.mark.parametrize("line", ["16465550123", "%2B16465550123", "+16465550123"])
async def test_line_in_the_url_may_have_a_plus(ingress: Running, line: str) -> None:
    body = body_of()
    assert (await ingress.post(body, signed(body, NOW), f"line={line}")).status == 200


async def test_both_generations_are_accepted_during_rotation(ingress: Running) -> None:
    await ingress.keyring.store(LINE, 2, "linq-3", OTHER_SECRET, 0)
    for secret, generation in ((SECRET, 1), (OTHER_SECRET, 2), (SECRET, 2), (OTHER_SECRET, 1)):
        body = body_of()
        response = await ingress.post(body, signed(body, NOW, secret), f"line=16465550123&gen={generation}")
        assert response.status == 200


async def test_new_secret_is_found_by_re_reading_the_keyring(ingress: Running) -> None:
    for generation in range(2, 5):
        fresh = SigningSecret("whsec_" + "QUJD" * 10 + "QUI" + str(generation))
        await ingress.keyring.store(LINE, generation, f"linq-{generation}", fresh, 0)
        body = body_of()
        response = await ingress.post(body, signed(body, NOW, fresh), f"line=16465550123&gen={generation}")
        assert response.status == 200


# --- refused webhooks -------------------------------------------------------------------------------


async def test_signature_of_another_line_is_rejected(ingress: Running) -> None:
    body = body_of()
    assert (await ingress.post(body, signed(body, NOW, OTHER_SECRET), "line=16465550123")).status == 401


@pytest.mark.parametrize("query", ["line=19995550000", "line=support", "line=", "", "version=2026-02-03"])
async def test_line_without_a_secret_gets_503(ingress: Running, query: str) -> None:
    body = body_of()
    response = await ingress.post(body, signed(body, NOW), query)
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_generation_without_a_secret_gets_503(ingress: Running) -> None:
    body = body_of()
    response = await ingress.post(body, signed(body, NOW, OTHER_SECRET), "line=16465550123&gen=2")
    assert response.status == 503


async def test_signed_unparsable_webhook_is_quarantined_and_gets_200(ingress: Running, redis: Redis) -> None:
    for body in (
        b"not json",
        b"[]",
        b"",
        b'{"event_type": "x"}',
        b'{"event_id": "a b", "event_type": "x"}',
        b"\xff\xfe",
    ):
        headers = standard.sign(SECRET, "x", int(NOW), body)
        assert (await ingress.post(body, headers)).status == 200
    kept = [webhook async for webhook in Quarantine(redis).all()]
    assert [webhook.body for webhook in kept][:2] == [b"not json", b"[]"]
    assert len(kept) == 6
    assert {(webhook.line, webhook.dialect, webhook.at) for webhook in kept} == {(LINE, "v3", int(NOW * 1000))}
    assert all(webhook.reason for webhook in kept)
    assert await inbox(redis) == []


async def test_body_limit_is_one_mebibyte(ingress: Running) -> None:
    padding = MIB - len(body_of(event_id="e1", text=""))
    largest = body_of(event_id="e1", text="x" * padding)
    assert len(largest) == MIB
    assert (await ingress.post(largest, signed(largest, NOW))).status == 200
    too_large = BytesIO(largest + b" ")
    response = await ingress.http.post("/webhooks/linq?line=16465550123", data=too_large, headers=signed(largest, NOW))
    assert response.status == 413


async def test_endless_body_is_refused_while_it_streams(ingress: Running) -> None:
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(200):
            sent += 1
            yield b"x" * 65536

    try:
        headers = signed(body_of(), NOW)
        response = await ingress.http.post("/webhooks/linq?line=16465550123", data=stream(), headers=headers)
    except OSError:
        pass  # the connection was closed during the body
    else:
        assert response.status == 413
    assert sent < 200


async def test_sender_that_disconnects_midway_causes_a_warning(ingress: Running) -> None:
    with capture_logs() as logs:
        _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(request_of()[:-1])
        await writer.drain()
        await hang_up(writer)
        await eventually(lambda: logs)
    assert [(line["event"], line["log_level"]) for line in logs] == [("event.cut_off", "warning")]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
@pytest.mark.parametrize("path", ["/webhooks/linq", "/webhooks/linq/v2"])
async def test_other_methods_get_405(ingress: Running, method: str, path: str) -> None:
    response = await ingress.http.request(method, path)
    assert (response.status, response.headers["Allow"]) == (405, "POST")


# --- failures of the relay --------------------------------------------------------------------------


async def test_full_redis_gets_503_until_it_has_room(ingress: Running, redis: Redis) -> None:
    body = body_of()
    await redis.config_set("maxmemory", 1)
    try:
        response = await ingress.post(body, signed(body, NOW))
        assert (response.status, (await response.json())["error"]["code"]) == (503, "store_unavailable")
        assert response.headers["Retry-After"]
    finally:
        await redis.config_set("maxmemory", 0)

    async def accepted() -> bool:
        return (await ingress.post(body, signed(body, NOW))).status == 200

    await eventually(accepted)


async def test_forged_webhooks_cause_few_keyring_reads(
    ingress: Running, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "_MIN_INTERVAL", 0.25)  # as in production
    body = body_of()
    await redis.config_resetstat()
    responses = await asyncio.gather(*(ingress.post(body, signed(body, NOW, OTHER_SECRET)) for _ in range(80)))
    assert {response.status for response in responses} == {401}
    stats = await redis.info("commandstats")
    assert stats["cmdstat_get"]["calls"] <= 4
    assert "cmdstat_hgetall" not in stats


async def test_webhooks_get_503_above_the_high_water_mark(ingress: Running, redis: Redis) -> None:
    for number in range(40):  # then the number of connections hardly matters
        await redis.set(f"ballast:{number}", bytes(MIB // 2))
    await redis.config_set("maxmemory", round((await memory_of(redis)).used / 0.95))
    try:

        async def refused() -> bool:
            body = body_of()
            return (await ingress.post(body, signed(body, NOW))).status == 503

        await eventually(refused)
        assert await redis.set("delivering", "goes on")
    finally:
        await redis.config_set("maxmemory", 0)
