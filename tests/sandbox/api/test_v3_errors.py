"""Error bodies of the v3 API, and the trace id of every response."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import linq
import pytest

from relay.sandbox.api import v3_errors

if TYPE_CHECKING:
    from tests.sandbox.running import RunningSandbox

TRACE = re.compile(r"[0-9a-f]{32}")
SUBSCRIPTIONS = "/v3/webhook-subscriptions"
TARGET = "https://relay.example.com/x"
GOOD = {"target_url": TARGET, "subscribed_events": ["message.sent"]}


@pytest.mark.parametrize("prefix", ["/api/partner", ""])
@pytest.mark.parametrize(
    ("method", "path", "request_of", "status", "code", "message"),
    [
        (
            "GET",
            "/v3/phone_numbers",
            {"headers": {"Authorization": "Bearer nope"}},
            401,
            2004,
            "Unauthorized - missing or invalid authentication token",
        ),
        (
            "GET",
            SUBSCRIPTIONS,
            {"headers": {"Authorization": ""}},
            401,
            2004,
            "Unauthorized - missing or invalid authentication token",
        ),
        ("POST", SUBSCRIPTIONS, {"json": {"target_url": TARGET}}, 400, 1001, "subscribed_events is required"),
        (
            "POST",
            SUBSCRIPTIONS,
            {"json": {**GOOD, "phone_numbers": ["0123"]}},
            400,
            1002,
            "Phone number must be in E.164 format",
        ),
        ("POST", SUBSCRIPTIONS, {"data": b"{"}, 400, 1003, "Request body is not valid JSON"),
        ("POST", SUBSCRIPTIONS, {"data": b"\xff"}, 400, 1003, "Request body is not valid JSON"),
        ("POST", SUBSCRIPTIONS, {"data": b""}, 400, 1003, "Request body is not valid JSON"),
        ("POST", SUBSCRIPTIONS, {"json": [GOOD]}, 400, 1003, "Request body must be a JSON object"),
        (
            "POST",
            SUBSCRIPTIONS,
            {"json": {**GOOD, "subscribed_events": ["message.teleported"]}},
            400,
            1005,
            "Unknown event type: message.teleported",
        ),
        ("GET", f"{SUBSCRIPTIONS}/nothing", {}, 404, 2010, "Webhook subscription not found"),
    ],
)
async def test_error_has_the_shape_of_linq(
    sandbox: RunningSandbox,
    prefix: str,
    method: str,
    path: str,
    request_of: Any,
    status: int,
    code: int,
    message: str,
) -> None:
    async with sandbox.http.request(method, sandbox.url + prefix + path, **request_of) as response:
        body = await response.json()
        assert response.status == status
        assert response.content_type == "application/json"
        assert TRACE.fullmatch(response.headers["X-Trace-ID"])
    assert TRACE.fullmatch(body.pop("trace_id"))
    doc_url = f"https://docs.linqapp.com/error/codes/{code // 1000}xxx/{code}/"
    assert body == {
        "success": False,
        "error": {"status": status, "code": code, "message": message, "doc_url": doc_url},
    }


async def test_duplicate_url_is_409_with_code_2015(sandbox: RunningSandbox) -> None:
    for expected in (201, 409):
        async with sandbox.http.post(sandbox.url + SUBSCRIPTIONS, json=GOOD) as response:
            assert response.status == expected
            body = await response.json()
    assert body["success"] is False
    assert body["error"]["status"] == 409
    assert body["error"]["code"] == 2015


DOC_2010 = "https://docs.linqapp.com/error/codes/2xxx/2010/"


async def test_sdk_reads_code_message_and_doc_url(sandbox: RunningSandbox) -> None:
    with pytest.raises(linq.NotFoundError) as refused:
        await sandbox.client.webhook_subscriptions.retrieve("nothing")
    error = refused.value
    assert (error.code, error.doc_url, error.retry_after) == (2010, DOC_2010, None)
    assert isinstance(error.body, dict)
    assert error.body["message"] == "Webhook subscription not found"


async def test_successful_responses_have_unique_trace_ids(sandbox: RunningSandbox) -> None:
    made = await sandbox.subscribe(TARGET)
    traces = []
    for method, path in (
        ("GET", "/v3/webhook-events"),
        ("GET", "/v3/phone_numbers"),
        ("GET", SUBSCRIPTIONS),
        ("GET", f"/api/partner{SUBSCRIPTIONS}/{made.id}"),
        ("GET", "/sandbox/deliveries"),
        ("DELETE", f"{SUBSCRIPTIONS}/{made.id}"),
    ):
        async with sandbox.http.request(method, sandbox.url + path) as response:
            assert response.ok
            traces.append(response.headers["X-Trace-ID"])
    assert all(TRACE.fullmatch(trace) for trace in traces)
    assert len(set(traces)) == len(traces)


async def test_error_has_the_same_trace_id_in_header_and_body(sandbox: RunningSandbox) -> None:
    async with sandbox.http.get(f"{sandbox.url}{SUBSCRIPTIONS}/nothing") as response:
        assert (await response.json())["trace_id"] == response.headers["X-Trace-ID"]


@pytest.mark.parametrize("path", ["/v3/none", "/api/partner/v3/none", "/elsewhere"])
async def test_unknown_path_is_404_in_the_shape_of_linq(sandbox: RunningSandbox, path: str) -> None:
    async with sandbox.http.get(sandbox.url + path) as response:
        assert response.status == 404
        assert TRACE.fullmatch(response.headers["X-Trace-ID"])
        assert (await response.json())["error"]["status"] == 404


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [("POST", "/v3/phone_numbers", 0, 405), ("POST", SUBSCRIPTIONS, 2 * 1024 * 1024, 413)],
    ids=["wrong method", "too large"],
)
async def test_other_errors_have_trace_id_and_shape_of_linq(
    sandbox: RunningSandbox, method: str, path: str, size: int, status: int
) -> None:
    async with sandbox.http.request(method, sandbox.url + path, data=io.BytesIO(b"x" * size)) as response:
        assert response.status == status
        assert response.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)
        assert TRACE.fullmatch(response.headers["X-Trace-ID"])
        assert (await response.json())["error"]["status"] == status


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (v3_errors.missing_field("target_url"), 400, 1001),
        (v3_errors.not_e164(), 400, 1002),
        (v3_errors.malformed("no"), 400, 1003),
        (v3_errors.invalid("no"), 400, 1005),
        (v3_errors.unauthorized(), 401, 2004),
        (v3_errors.not_found(), 404, 2010),
        (v3_errors.duplicate_target_url(), 409, 2015),
    ],
    ids=lambda value: str(value) if isinstance(value, v3_errors.ApiError) else "",
)
def test_error_codes_map_to_statuses(error: v3_errors.ApiError, status: int, code: int) -> None:
    assert (error.status, error.code) == (status, code)
    assert str(error) == error.message
