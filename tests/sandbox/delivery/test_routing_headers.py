"""Delivery affinity: the headers that carry a chat's id and its routing token, and how the token is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import linq
import pytest

from relay.sandbox.state import Subscription

if TYPE_CHECKING:
    from linq.types import WebhookSubscriptionCreateResponse

    from tests.sandbox.running import Endpoint, RunningSandbox

TARGET = "https://relay.example.com/x"


async def made_with(sandbox: RunningSandbox, target_url: str = TARGET, **more: Any) -> Any:
    made: WebhookSubscriptionCreateResponse = await sandbox.client.webhook_subscriptions.create(
        target_url=target_url, subscribed_events=["message.received"], **more
    )
    return made


def headers_of(subscription: Any) -> tuple[str | None, str | None]:
    return subscription.routing_key_header, subscription.routing_id_header


# --- The fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, None)),
        ({"routing_key_header": "X-Cell"}, ("X-Cell", "Linq-Chat-Id")),
        ({"routing_key_header": "X-Cell", "routing_id_header": "X-Chat"}, ("X-Cell", "X-Chat")),
        ({"routing_key_header": "X-Cell", "routing_id_header": ""}, ("X-Cell", "Linq-Chat-Id")),
        ({"routing_id_header": "X-Chat"}, (None, None)),
        ({"routing_key_header": ""}, (None, None)),
    ],
)
async def test_id_header_requires_a_key_header(
    sandbox: RunningSandbox, given: Any, expected: tuple[str | None, str | None]
) -> None:
    assert headers_of(await made_with(sandbox, **given)) == expected


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
async def test_update_disables_affinity_or_restores_default(sandbox: RunningSandbox, nothing: Any) -> None:
    made = await made_with(sandbox, routing_key_header="X-Cell", routing_id_header="X-Chat")
    api = sandbox.client.webhook_subscriptions
    assert headers_of(await api.update(made.id, is_active=True)) == ("X-Cell", "X-Chat")
    assert headers_of(await api.update(made.id, routing_id_header=nothing)) == ("X-Cell", "Linq-Chat-Id")
    assert headers_of(await api.update(made.id, routing_key_header=nothing)) == (None, None)
    assert headers_of(await api.update(made.id, routing_key_header="X-Pod")) == ("X-Pod", "Linq-Chat-Id")


@pytest.mark.parametrize("field", ["routing_key_header", "routing_id_header"])
@pytest.mark.parametrize("name", ["two words", "colon:", "é", 5, ["X-Cell"], "webhook-id", "Content-Length", "x" * 300])
async def test_invalid_routing_header_is_1005(sandbox: RunningSandbox, field: str, name: Any) -> None:
    made = await made_with(sandbox)
    for call in (
        made_with(sandbox, TARGET + "?gen=2", **{field: name}),
        sandbox.client.webhook_subscriptions.update(made.id, **{field: name}),
    ):
        with pytest.raises(linq.BadRequestError) as refused:
            await call
        assert refused.value.code == 1005


# --- Deliveries ---------------------------------------------------------------------------------------


async def test_token_of_a_2xx_is_sent_with_later_events_of_the_chat(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    made = await made_with(sandbox, endpoint.url, routing_key_header="X-Cell")
    endpoint.headers["x-cell"] = "cell-7"
    for chat in ("first", "first", "second"):
        await sandbox.emit(chat_id=chat)
        await sandbox.settled()
    seen = [(request.headers["linq-chat-id"], request.headers.get("x-cell")) for request in endpoint.received]
    assert seen == [("first", None), ("first", "cell-7"), ("second", None)]

    endpoint.received.clear()
    api = sandbox.client.webhook_subscriptions
    await api.update(made.id, routing_key_header=None)
    await sandbox.emit(chat_id="first")
    await sandbox.settled()
    await api.update(made.id, routing_key_header="X-Cell")
    await sandbox.emit(chat_id="first")
    await sandbox.settled()
    assert [(request.headers.get("linq-chat-id"), request.headers.get("x-cell")) for request in endpoint.received] == [
        (None, None),
        ("first", None),  # disabling affinity has deleted the tokens
    ]


async def test_token_of_an_error_response_is_ignored(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await made_with(sandbox, endpoint.url, routing_key_header="X-Cell", routing_id_header="X-Chat")
    endpoint.headers["X-Cell"] = "cell-7"
    endpoint.statuses.extend([500, 404])
    await sandbox.emit(chat_id="first")
    await sandbox.settled()
    await sandbox.emit(chat_id="first")
    await sandbox.settled()
    assert [request.headers.get("x-cell") for request in endpoint.received] == [None, None, None]
    assert {request.headers["x-chat"] for request in endpoint.received} == {"first"}


async def test_event_without_chat_has_no_routing_headers(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.client.webhook_subscriptions.create(
        target_url=endpoint.url, subscribed_events=["phone_number.status_updated"], routing_key_header="X-Cell"
    )
    await sandbox.emit("phone_number.status_updated")
    await sandbox.settled()
    (received,) = endpoint.received
    assert not {"linq-chat-id", "x-cell"} & received.headers.keys()


def test_oldest_token_is_evicted_above_the_limit() -> None:
    subscription = Subscription(TARGET, ["message.received"], [])
    for number in range(10_000):
        subscription.learn_token(str(number), "cell-7")
    subscription.learn_token("0", "cell-8")
    subscription.learn_token("10000", "cell-8")
    assert len(subscription.tokens) == 10_000
    assert "1" not in subscription.tokens
    assert (subscription.tokens["0"], subscription.tokens["10000"]) == ("cell-8", "cell-8")
