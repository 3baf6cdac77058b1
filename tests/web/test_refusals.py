"""Refused requests: each leaves a line in the log and a count, over both ways, and a flood of them costs little."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.secret import SigningSecret
from relay.linq.signatures import v2
from relay.linq.signatures.verify import verify_v3
from relay.net.failure_limit import EACH
from relay.store.inbox.refusals import refused_counts
from tests.building import LINE, OTHER_SECRET, body_of, signed
from tests.conftest import NOW
from tests.support import eventually
from tests.web.conftest import V2_SECRET
from tests.web.wire import connection, request_of, response_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis
    from tests.chaos.wire import Message
    from tests.web.conftest import Running

PLAIN = request_of()
HEAD, BODY = PLAIN.split(b"\r\n\r\n", 1)
TARGET = PLAIN.split(b" ", 2)[1]
LENGTH = b"Content-Length: %d" % len(BODY)


def with_header(line: bytes) -> bytes:
    return HEAD + b"\r\n" + line + b"\r\n\r\n" + BODY


async def response_to(ingress: Running, request: bytes) -> Message:
    async with connection(ingress.port) as (reader, writer):
        writer.write(request)
        return await response_of(reader)


FINAL: dict[str, tuple[bytes, int, str]] = {
    "body over 1 MiB": (HEAD.replace(LENGTH, b"Content-Length: 1048577") + b"\r\n\r\n", 413, "too_large"),
    "path under ours": (PLAIN.replace(b"/webhooks/linq?", b"/webhooks/linq/v2/?"), 404, "unknown_path"),
    "path with a slash": (PLAIN.replace(b"/webhooks/linq?", b"/webhooks/linq/?"), 404, "unknown_path"),
    "another path": (PLAIN.replace(b"/webhooks/linq?", b"/webhook?"), 404, "not_found"),
    "GET": (b"GET /webhooks/linq HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
    "long header": (with_header(b"X-Long: " + b"x" * 8200), 400, "malformed"),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "malformed"),
    "another expectation": (with_header(b"Expect: miracles"), 417, "expectation_failed"),
    "an expectation that is not text": (with_header(b"Expect: 100-con\x80tinue"), 417, "expectation_failed"),
    "an expectation of another path": (
        b"GET /elsewhere HTTP/1.1\r\nHost: x\r\nExpect: \x80\r\n\r\n",
        417,
        "expectation_failed",
    ),
    "forged": (PLAIN[:-1] + b"!", 401, "bad_signature"),
    "forged, chunked": (
        HEAD.replace(LENGTH, b"Transfer-Encoding: chunked") + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        401,
        "bad_signature",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FINAL)
async def test_final_refusal_is_logged_and_counted(ingress: Running, redis: Redis, what: str) -> None:
    request, status, code = FINAL[what]
    with capture_logs() as logs:
        assert (await response_to(ingress, request)).status == status
        await eventually(lambda: logs)
    [line] = logs
    assert (line["event"], line["code"], line["count"], line["final"]) == ("event.refused", code, 1, 1)
    assert (line["remote"], bool(line["reason"])) == ("127.0.0.1", True)
    assert await eventually(lambda: refused_counts(redis)) == {code: 1}


async def test_log_of_an_unknown_path_names_path_and_subscription(ingress: Running) -> None:
    with capture_logs() as logs:
        await response_to(ingress, PLAIN.replace(b"/webhooks/linq?", b"/webhooks/linq/v2/?"))
        await eventually(lambda: logs)
    assert (logs[0]["path"], logs[0]["method"]) == ("/webhooks/linq/v2/", "POST")
    assert "relay bootstrap plan" in logs[0]["reason"]


@pytest.mark.parametrize(
    "request_",
    [PLAIN, *(request for request, _, _ in FINAL.values()), b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"],
)
async def test_no_response_shows_software_versions(ingress: Running, request_: bytes) -> None:
    response = await response_to(ingress, request_)
    server = {name.lower(): value for name, value in response.headers.items()}.get("server", "")
    assert server in ("", "linq-relay")


def forged(ingress: Running, number: int) -> Any:
    body = body_of(event_id=f"forged-{number}")
    return ingress.post(body, signed(body, NOW, OTHER_SECRET))


async def exhaust(ingress: Running) -> None:
    """Use up the budget of failures of this address."""
    while ingress.parts.failures.take("127.0.0.1"):
        pass


async def test_valid_webhook_is_accepted_from_an_address_over_its_budget(ingress: Running) -> None:
    await exhaust(ingress)
    assert (await forged(ingress, 0)).status == 429
    body = body_of()
    assert (await ingress.post(body, signed(body, NOW))).status == 200
    body = body_of()
    headers = v2.sign(SigningSecret(V2_SECRET), body)
    assert (await ingress.http.post("/webhooks/linq/v2", data=body, headers=headers)).status == 200


def unsigned(_: bytes) -> dict[str, str]:
    return {}


def signed_by_another(body: bytes) -> dict[str, str]:
    return signed(body, NOW, OTHER_SECRET)


@pytest.mark.parametrize(
    ("sign", "query"),
    [
        (unsigned, "line=16465550123"),
        (signed_by_another, "line=16465550123"),
        (signed_by_another, "line=16465550123&gen=9"),
        (signed_by_another, "line=19995550000"),
    ],
)
async def test_failure_over_the_budget_costs_no_keyring_read(
    ingress: Running, redis: Redis, sign: Callable[[bytes], dict[str, str]], query: str
) -> None:
    await exhaust(ingress)
    await redis.config_resetstat()
    body = body_of()
    with capture_logs() as logs:
        response = await ingress.post(body, sign(body), query)
        await eventually(lambda: logs)
    status = 503 if logs[0]["code"] == "secret_unknown" else 429
    assert (response.status, int(response.headers["Retry-After"]) > 0) == (status, True)
    assert (logs[0]["limited"], logs[0]["final"]) == (1, 0)
    assert "cmdstat_get" not in await redis.info("commandstats")


async def test_retry_succeeds_once_the_secret_was_read(ingress: Running) -> None:
    await exhaust(ingress)
    await ingress.keyring.store(LINE, 2, "linq-3", OTHER_SECRET, 0)
    body = body_of()
    headers = signed(body, NOW, OTHER_SECRET)
    assert (await ingress.post(body, headers, "line=16465550123&gen=2")).status == 429
    await ingress.parts.keys.renew()  # by another request, or by itself within seconds
    assert (await ingress.post(body, headers, "line=16465550123&gen=2")).status == 200


async def test_valid_webhooks_of_a_new_secret_take_no_budget(ingress: Running) -> None:
    await ingress.keyring.store(LINE, 2, "linq-3", OTHER_SECRET, 0)
    count = int(EACH.burst) + 50
    responses = await asyncio.gather(
        *(
            ingress.post(body, signed(body, NOW, OTHER_SECRET), "line=16465550123&gen=2")
            for body in (body_of(event_id=f"new-{number}") for number in range(count))
        )
    )
    assert {response.status for response in responses} == {200}
    assert ingress.parts.failures.has_room("127.0.0.1")


async def test_flood_is_slowed_down_and_logged_once(ingress: Running) -> None:
    count = int(EACH.burst) + 200
    with capture_logs() as logs:
        responses = await asyncio.gather(*(forged(ingress, number) for number in range(count)))
        await eventually(lambda: sum(line["count"] for line in logs) == count)
    statuses = [response.status for response in responses]
    assert statuses.count(401) == EACH.burst
    assert statuses.count(401) + statuses.count(429) == count
    assert len(logs) < 30
    assert {line["code"] for line in logs} == {"bad_signature"}


async def test_unchanged_secrets_are_not_tried_again(ingress: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def counting(*arguments: Any) -> VerifiedWebhook:
        tried.append(arguments)
        return verify_v3(*arguments)

    monkeypatch.setattr("relay.web.ingress.verify_v3", counting)
    assert (await forged(ingress, 0)).status == 401
    assert len(tried) == 1
    await ingress.keyring.store(LINE, 2, "linq-3", OTHER_SECRET, 0)
    assert (await forged(ingress, 1)).status == 200
    assert len(tried) == 3
