"""The sandbox's v2 API, called as anybody could."""

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
"""The least that a subscription has to have."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    json: Any
    headers: Mapping[str, str]


async def call(sandbox: RunningSandbox, method: str, path: str, token: str | None = API_KEY, **request: Any) -> Answer:
    """One call; `request` is what aiohttp takes, such as `json`."""
    headers = {} if token is None else {TOKEN: token}
    async with sandbox.http.request(method, sandbox.url + path, headers=headers, **request) as answer:
        return Answer(answer.status, await answer.json() if answer.status != 204 else None, answer.headers)


async def subscribe(sandbox: RunningSandbox, **fields: Any) -> Any:
    """A subscription as the API shows it: `GOOD`, but for `fields`."""
    answer = await call(sandbox, "POST", SUBSCRIPTIONS, json={"webhook_subscription": GOOD | fields})
    assert answer.status == 201, answer
    return answer.json["webhook_subscription"]


async def listed(sandbox: RunningSandbox) -> list[Any]:
    """The subscriptions as the API lists them."""
    rows: list[Any] = (await call(sandbox, "GET", SUBSCRIPTIONS)).json["webhook_subscriptions"]
    return rows
