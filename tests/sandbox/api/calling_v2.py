"""Client of the v2 API for tests, over plain HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.sandbox.running import API_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.sandbox.running import RunningSandbox

TOKEN = "X-LINQ-INTEGRATION-TOKEN"
SUBSCRIPTIONS = "/v2/webhook_subscriptions"
NUMBERS = "/v2/phone_numbers"
URL = "https://relay.example.com/webhooks/linq/v2"
GOOD = {"webhook_url": URL, "version": 2, "events": ["message.sent", "message.received"]}
"""The mandatory fields of a subscription."""


class ApiResponse(NamedTuple):
    """Status, headers and body of a response."""

    status: int
    json: Any
    headers: Mapping[str, str]


async def call(
    sandbox: RunningSandbox, method: str, path: str, token: str | None = API_KEY, **request: Any
) -> ApiResponse:
    """Call the API; `request` has the arguments of aiohttp, such as `json`."""
    headers = {} if token is None else {TOKEN: token}
    async with sandbox.http.request(method, sandbox.url + path, headers=headers, **request) as response:
        return ApiResponse(response.status, await response.json() if response.status != 204 else None, response.headers)


async def subscribe(sandbox: RunningSandbox, **fields: Any) -> Any:
    """Create a subscription with `GOOD` and `fields`, and return it as the API does."""
    response = await call(sandbox, "POST", SUBSCRIPTIONS, json={"webhook_subscription": GOOD | fields})
    assert response.status == 201, response
    return response.json["webhook_subscription"]


async def listed(sandbox: RunningSandbox) -> list[Any]:
    """Return the subscriptions as the API lists them."""
    rows: list[Any] = (await call(sandbox, "GET", SUBSCRIPTIONS)).json["webhook_subscriptions"]
    return rows
