"""Errors of the v2 API, in the two shapes of v2."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relay.sandbox.api.v2 import line_id_v2
from tests.sandbox.api.calling_v2 import GOOD, NUMBERS, SUBSCRIPTIONS, URL, ApiResponse, call, listed, subscribe
from tests.sandbox.running import API_KEY, LINE, RunningSandbox, running_sandbox


def subscription_error(response: ApiResponse) -> tuple[int, str, list[str]]:
    """Return status, code and messages of a subscription error, after a check of its shape."""
    assert list(response.json) == ["status", "error_code", "message", "errors"]
    assert response.json["status"] == str(response.status)
    assert response.json["message"] == ", ".join(response.json["errors"])
    return response.status, response.json["error_code"], response.json["errors"]


def listed_error(response: ApiResponse) -> tuple[int, str, str, str]:
    """Return status, code, title and detail of any other error, after a check of its shape."""
    assert list(response.json) == ["errors"]
    (error,) = response.json["errors"]
    assert list(error) == ["status", "code", "title", "detail"]
    assert error["status"] == response.status
    return error["status"], error["code"], error["title"], error["detail"]


@pytest.mark.parametrize("token", [None, "", "wrong", API_KEY + "x", API_KEY[:-1], f"Bearer {API_KEY}", "é"])
async def test_wrong_token_is_401_in_the_shape_of_the_path(sandbox: RunningSandbox, token: str | None) -> None:
    sentence = "Missing or invalid integration token"
    assert subscription_error(await call(sandbox, "GET", SUBSCRIPTIONS, token)) == (401, "unauthorized", [sentence])
    assert listed_error(await call(sandbox, "GET", NUMBERS, token)) == (401, "unauthorized", "Unauthorized", sentence)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"data": b"{"}, "Request body is not valid JSON"),
        ({"data": b""}, "Request body is not valid JSON"),
        ({"json": [GOOD]}, "Request body must be a JSON object"),
        ({"json": {}}, "webhook_subscription is required"),
        ({"json": GOOD}, "webhook_subscription is required"),
        ({"json": {"webhook_subscription": None}}, "webhook_subscription is required"),
        ({"json": {"webhook_subscription": [GOOD]}}, "webhook_subscription is required"),
    ],
)
async def test_body_without_wrapper_is_400(sandbox: RunningSandbox, sent: Any, sentence: str) -> None:
    await subscribe(sandbox)
    for method, path in (("POST", SUBSCRIPTIONS), ("PUT", f"{SUBSCRIPTIONS}/1")):
        assert subscription_error(await call(sandbox, method, path, **sent)) == (400, "bad_request", [sentence])
    assert len(await listed(sandbox)) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"webhook_url": None}, "webhook_url must be a valid HTTPS URL"),
        ({"webhook_url": "relay.example.com"}, "webhook_url must be a valid HTTPS URL"),
        ({"webhook_url": "https://relay.example.com/\ud800"}, "webhook_url must be a valid HTTPS URL"),
        ({"version": 3}, "version must be 2"),
        ({"version": "2"}, "version must be 2"),
        ({"version": True}, "version must be 2"),
        ({"version": None}, "version must be 2"),
        ({"events": "message.sent"}, "events must be a list of event types"),
        ({"events": None}, "events must be a list of event types"),
        ({"events": ["message.sent", "message.failed"]}, "events contains an unknown event type: message.failed"),
        ({"events": ["*"]}, "events contains an unknown event type: *"),
        ({"events": [["message.sent"]]}, "events contains an unknown event type: ['message.sent']"),
        ({"secret": 5}, "secret must be a string"),
        ({"secret": None}, "secret must be a string"),
        ({"secret": "\ud800"}, "secret must be a string"),
        ({"active": "yes"}, "active must be a boolean"),
        ({"active": None}, "active must be a boolean"),
    ],
)
async def test_invalid_value_is_422_and_changes_nothing(sandbox: RunningSandbox, change: Any, sentence: str) -> None:
    made = await subscribe(sandbox, active=False)
    for method, path in (("POST", SUBSCRIPTIONS), ("PUT", f"{SUBSCRIPTIONS}/1")):
        response = await call(sandbox, method, path, json={"webhook_subscription": GOOD | change})
        assert subscription_error(response) == (422, "unprocessable_entity", [sentence])
    assert await listed(sandbox) == [made]


async def test_all_problems_are_reported_at_once(sandbox: RunningSandbox) -> None:
    body = {"webhook_subscription": {"version": 1, "events": ["a", "b"], "secret": []}}
    assert subscription_error(await call(sandbox, "POST", SUBSCRIPTIONS, json=body))[2] == [
        "webhook_url is required",
        "version must be 2",
        "events contains an unknown event type: a",
        "events contains an unknown event type: b",
        "secret must be a string",
    ]


@pytest.mark.parametrize("field", GOOD)
async def test_update_requires_all_mandatory_fields(sandbox: RunningSandbox, field: str) -> None:
    await subscribe(sandbox)
    body = {"webhook_subscription": {name: value for name, value in GOOD.items() if name != field}}
    for method, path in (("POST", SUBSCRIPTIONS), ("PUT", f"{SUBSCRIPTIONS}/1")):
        assert subscription_error(await call(sandbox, method, path, json=body))[2] == [f"{field} is required"]


@pytest.mark.parametrize("subscription_id", ["2", "0", "999999999999999999", "9" * 30, "-1", "x", "1.0"])
async def test_unknown_subscription_is_404(sandbox: RunningSandbox, subscription_id: str) -> None:
    await subscribe(sandbox)
    for method in ("PUT", "DELETE"):
        path, body = f"{SUBSCRIPTIONS}/{subscription_id}", {"webhook_subscription": GOOD}
        status, code, _ = subscription_error(await call(sandbox, method, path, json=body))
        assert (status, code) == (404, "not_found")
    assert len(await listed(sandbox)) == 1


async def test_single_subscription_cannot_be_retrieved(sandbox: RunningSandbox) -> None:
    made = await subscribe(sandbox)
    status, code, _ = subscription_error(await call(sandbox, "GET", f"{SUBSCRIPTIONS}/{made['id']}"))
    assert (status, code) == (405, "method_not_allowed")


@pytest.mark.parametrize("url", ["http://relay.example.com/x", "https://10.1.2.3/x", "https://localhost/x"])
async def test_local_targets_require_allow_local(url: str) -> None:
    body = {"webhook_subscription": GOOD | {"webhook_url": url}}
    for allow_local, status in ((False, 422), (True, 201)):
        async with running_sandbox(allow_local=allow_local) as sandbox:
            assert (await call(sandbox, "POST", SUBSCRIPTIONS, json=body)).status == status


@pytest.mark.parametrize("number", ["0123", "call me", 5, False, []])
async def test_invalid_forwarding_number_is_422(sandbox: RunningSandbox, number: Any) -> None:
    response = await call(sandbox, "PUT", f"{NUMBERS}/{line_id_v2(LINE)}", json={"forwarding_number": number})
    sentence = "Phone number must be in E.164 format"
    assert listed_error(response) == (422, "unprocessable_entity", "Unprocessable entity", sentence)
    assert sandbox.sandbox.state.forwarding == {}


async def test_phone_number_of_another_account_is_403(sandbox: RunningSandbox) -> None:
    response = await call(sandbox, "PUT", f"{NUMBERS}/1", json={"forwarding_number": LINE})
    sentence = "Phone number doesn't belong to your organization"
    assert listed_error(response) == (403, "forbidden", "Forbidden", sentence)


async def test_unknown_path_is_404(sandbox: RunningSandbox) -> None:
    response = await call(sandbox, "GET", "/v2/chats")
    assert listed_error(response) == (404, "not_found", "Not found", "Not Found")


async def test_every_response_has_a_trace_id(sandbox: RunningSandbox) -> None:
    for path, token in ((SUBSCRIPTIONS, API_KEY), (SUBSCRIPTIONS, None), (NUMBERS, None)):
        response = await call(sandbox, "GET", path, token)
        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Trace-ID"])


async def test_injected_errors_have_the_shapes_of_v2(sandbox: RunningSandbox) -> None:
    await sandbox.fault("api_error", status=429, retry_after=7, count=2, path="/v2")
    limited = await call(sandbox, "GET", SUBSCRIPTIONS)
    assert subscription_error(limited) == (429, "too_many_requests", ["Rate limit exceeded"])
    assert limited.headers["Retry-After"] == "7"
    assert listed_error(await call(sandbox, "GET", NUMBERS))[:2] == (429, "too_many_requests")
    await sandbox.fault("api_error", status=500, count=1, path="/v2", after=True)
    response = await call(sandbox, "POST", SUBSCRIPTIONS, json={"webhook_subscription": GOOD})
    assert subscription_error(response) == (500, "internal_server_error", ["Internal server error"])
    assert [subscription["webhook_url"] for subscription in await listed(sandbox)] == [URL]
