from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import linq
import pytest

from relay.core.errors import LinqApiError
from relay.linq.api.v3 import KNOWN_EVENT_TYPES, LinqApi, LinqSubscription, ListedLines
from tests.building import LINE, OTHER_LINE, SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

URL = "https://relay.example.com/webhooks/linq?version=2026-02-03&line=16465550123&gen=1"
ROW = {
    "id": "sub-1",
    "target_url": URL,
    "subscribed_events": ["message.received", "hologram.projected"],
    "phone_numbers": [LINE],
    "is_active": True,
    "created_at": "2026-09-14T09:15:02Z",
    "updated_at": "2026-09-14T09:15:02Z",
}
SUBSCRIPTION = LinqSubscription(
    id="sub-1",
    target_url=URL,
    events=frozenset({"message.received", "hologram.projected"}),
    phone_numbers=frozenset({LINE}),
    is_active=True,
)
UNKNOWN = {"success": False, "error": {"status": 404, "code": 2010, "message": "not found"}}


class Linq:
    """A Linq that gives a fixed response and records its requests."""

    def __init__(self, status: int, response: object = None) -> None:
        self.requests: list[httpx.Request] = []
        self._response = httpx.Response(status, json=response) if response is not None else httpx.Response(status)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._response

    @property
    def api(self) -> LinqApi:
        """Return a client of this Linq."""
        return api_of(self)

    @property
    def asked(self) -> tuple[str, str, Any]:
        """Return the method, path and body of the only request."""
        (request,) = self.requests
        return request.method, request.url.path, json.loads(request.content) if request.content else None


def api_of(response: Callable[[httpx.Request], httpx.Response]) -> LinqApi:
    http = httpx.AsyncClient(transport=httpx.MockTransport(response))
    return LinqApi(
        linq.AsyncLinqAPIV3(api_key="key", base_url="https://linq.test/api/partner", http_client=http, max_retries=0)
    )


# --- lines and event types ------------------------------------------------------------------------


async def test_lines_are_unique_and_sorted_phone_numbers() -> None:
    numbers = [OTHER_LINE, LINE, LINE, "support@example.com"]
    rows = [{"id": f"n-{place}", "phone_number": number} for place, number in enumerate(numbers)]
    here = Linq(200, {"phone_numbers": rows})
    assert await here.api.lines() == ListedLines([LINE, OTHER_LINE], ("support@example.com",))
    assert here.asked == ("GET", "/api/partner/v3/phone_numbers", None)


@pytest.mark.parametrize("response", [{"phone_numbers": []}, {"phone_numbers": None}])
async def test_account_without_lines_is_an_error(response: dict[str, Any]) -> None:
    with pytest.raises(LinqApiError, match="no phone numbers"):
        await Linq(200, response).api.lines()


async def test_event_types_come_from_linq() -> None:
    here = Linq(200, {"events": ["message.received", "hologram.projected"], "doc_url": "https://docs.linqapp.com"})
    assert await here.api.event_types() == ["message.received", "hologram.projected"]
    assert here.asked == ("GET", "/api/partner/v3/webhook-events", None)


async def test_event_types_fall_back_to_the_sdk() -> None:
    assert await Linq(404, UNKNOWN).api.event_types() == list(KNOWN_EVENT_TYPES)


# --- subscriptions --------------------------------------------------------------------------------


async def test_missing_subscription_fields_are_empty() -> None:
    bare = {"id": "sub-2", "target_url": "https://else.where/", "is_active": False, "subscribed_events": []}
    assert await Linq(200, {"subscriptions": [ROW, bare]}).api.subscriptions() == [
        SUBSCRIPTION,
        LinqSubscription("sub-2", "https://else.where/", frozenset(), frozenset(), is_active=False),
    ]


async def test_creation_returns_the_secret() -> None:
    here = Linq(201, {**ROW, "signing_secret": SECRET.text})
    created = await here.api.create(URL, ["message.received", "hologram.projected"], LINE)
    assert created == (SUBSCRIPTION, SECRET)
    assert here.asked == (
        "POST",
        "/api/partner/v3/webhook-subscriptions",
        {
            "target_url": URL,
            "subscribed_events": ["message.received", "hologram.projected"],
            "phone_numbers": [LINE],
        },
    )


async def test_update_activates_the_subscription() -> None:
    here = Linq(200, ROW)
    await here.api.update("sub-1", ["message.received"], LINE)
    assert here.asked == (
        "PUT",
        "/api/partner/v3/webhook-subscriptions/sub-1",
        {"subscribed_events": ["message.received"], "phone_numbers": [LINE], "is_active": True},
    )


@pytest.mark.parametrize(("status", "response"), [(204, None), (404, UNKNOWN)])
async def test_deleting_a_missing_subscription_succeeds(status: int, response: object) -> None:
    here = Linq(status, response)
    await here.api.delete("sub-1")
    assert here.asked == ("DELETE", "/api/partner/v3/webhook-subscriptions/sub-1", None)


# --- errors ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[LinqApi], Awaitable[object]]] = {
    "lines": lambda api: api.lines(),
    "event types": lambda api: api.event_types(),
    "subscriptions": lambda api: api.subscriptions(),
    "create": lambda api: api.create(URL, ["message.received"], LINE),
    "update": lambda api: api.update("sub-1", ["message.received"], LINE),
    "delete": lambda api: api.delete("sub-1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_linq_message_is_in_the_error(call: Callable[[LinqApi], Awaitable[object]]) -> None:
    doc_url = "https://docs.linqapp.com/errors#1002"
    error = {"status": 400, "code": 1002, "message": "phone number must be E.164", "doc_url": doc_url}
    with pytest.raises(LinqApiError) as caught:
        await call(Linq(400, {"success": False, "error": error, "trace_id": "t"}).api)
    assert str(caught.value).endswith(f": phone number must be E.164 (status 400, code 1002); see {doc_url}")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_refused_key_is_named(call: Callable[[LinqApi], Awaitable[object]]) -> None:
    with pytest.raises(LinqApiError, match="LINQ_API_V3_API_KEY"):
        await call(Linq(401, {"success": False, "error": {"status": 401, "code": 2004, "message": "no"}}).api)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_unreachable_linq_is_an_error(call: Callable[[LinqApi], Awaitable[object]]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(LinqApiError, match="cannot be reached"):
        await call(api_of(refuse))


@pytest.mark.parametrize("response", ["down for maintenance", [], {}, {"error": "text"}, {"error": {"code": None}}])
async def test_error_in_another_shape_has_its_status(response: object) -> None:
    with pytest.raises(LinqApiError, match="status 503"):
        await Linq(503, response).api.subscriptions()


@pytest.mark.parametrize("call", [CALLS[name] for name in CALLS if name != "delete"])
async def test_html_response_is_an_error(call: Callable[[LinqApi], Awaitable[object]]) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, html="<h1>Welcome</h1>", request=request)

    with pytest.raises(LinqApiError, match="LINQ_API_V3_BASE_URL"):
        await call(api_of(page))
