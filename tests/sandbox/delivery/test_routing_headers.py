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


def headers_of(one: Any) -> tuple[str | None, str | None]:
    return one.routing_key_header, one.routing_id_header


# --- The fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, (None, None)),
        ({"routing_key_header": "X-Cell"}, ("X-Cell", "Linq-Chat-Id")),
        ({"routing_key_header": "X-Cell", "routing_id_header": "X-Chat"}, ("X-Cell", "X-Chat")),
        ({"routing_key_header": "X-Cell", "routing_id_header": ""}, ("X-Cell", "Linq-Chat-Id")),
        ({"routing_id_header": "X-Chat"}, (None, None)),
        ({"routing_key_header": ""}, (None, None)),
    ],
)
async def test_the_id_header_counts_only_with_a_key_header(
    sandbox: RunningSandbox, given: Any, shown: tuple[str | None, str | None]
) -> None:
    assert headers_of(await made_with(sandbox, **given)) == shown


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
async def test_an_update_can_switch_it_off_or_bring_back_the_default(sandbox: RunningSandbox, nothing: Any) -> None:
    made = await made_with(sandbox, routing_key_header="X-Cell", routing_id_header="X-Chat")
    api = sandbox.client.webhook_subscriptions
    assert headers_of(await api.update(made.id, is_active=True)) == ("X-Cell", "X-Chat")
    assert headers_of(await api.update(made.id, routing_id_header=nothing)) == ("X-Cell", "Linq-Chat-Id")
    assert headers_of(await api.update(made.id, routing_key_header=nothing)) == (None, None)
    assert headers_of(await api.update(made.id, routing_key_header="X-Pod")) == ("X-Pod", "Linq-Chat-Id")


@pytest.mark.parametrize("field", ["routing_key_header", "routing_id_header"])
@pytest.mark.parametrize("name", ["two words", "colon:", "é", 5, ["X-Cell"], "webhook-id", "Content-Length", "x" * 300])
async def test_what_cannot_be_such_a_header_is_1005(sandbox: RunningSandbox, field: str, name: Any) -> None:
    made = await made_with(sandbox)
    for call in (
        made_with(sandbox, TARGET + "?gen=2", **{field: name}),
        sandbox.client.webhook_subscriptions.update(made.id, **{field: name}),
    ):
        with pytest.raises(linq.BadRequestError) as refused:
            await call
        assert refused.value.code == 1005


# --- Deliveries ---------------------------------------------------------------------------------------


async def test_a_token_from_a_2xx_comes_back_with_the_next_events_of_its_chat(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    made = await made_with(sandbox, endpoint.url, routing_key_header="X-Cell")
    endpoint.headers["x-cell"] = "cell-7"
    for chat in ("one", "one", "two"):
        await sandbox.emit(chat_id=chat)
        await sandbox.settled()
    seen = [(one.headers["linq-chat-id"], one.headers.get("x-cell")) for one in endpoint.received]
    assert seen == [("one", None), ("one", "cell-7"), ("two", None)]

    endpoint.received.clear()
    api = sandbox.client.webhook_subscriptions
    await api.update(made.id, routing_key_header=None)
    await sandbox.emit(chat_id="one")
    await sandbox.settled()
    await api.update(made.id, routing_key_header="X-Cell")
    await sandbox.emit(chat_id="one")
    await sandbox.settled()
    assert [(one.headers.get("linq-chat-id"), one.headers.get("x-cell")) for one in endpoint.received] == [
        (None, None),
        ("one", None),  # switching it off has dropped the tokens
    ]


async def test_a_refusal_teaches_no_token_and_the_retry_has_what_is_known(
    sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
    await made_with(sandbox, endpoint.url, routing_key_header="X-Cell", routing_id_header="X-Chat")
    endpoint.headers["X-Cell"] = "cell-7"
    endpoint.answers.extend([500, 404])
    await sandbox.emit(chat_id="one")
    await sandbox.settled()
    await sandbox.emit(chat_id="one")
    await sandbox.settled()
    assert [one.headers.get("x-cell") for one in endpoint.received] == [None, None, None]
    assert {one.headers["x-chat"] for one in endpoint.received} == {"one"}


async def test_an_event_without_a_chat_has_neither_header(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.client.webhook_subscriptions.create(
        target_url=endpoint.url, subscribed_events=["phone_number.status_updated"], routing_key_header="X-Cell"
    )
    await sandbox.emit("phone_number.status_updated")
    await sandbox.settled()
    (received,) = endpoint.received
    assert not {"linq-chat-id", "x-cell"} & received.headers.keys()


def test_the_oldest_token_is_forgotten_when_there_are_too_many() -> None:
    one = Subscription(TARGET, ["message.received"], [])
    for number in range(10_000):
        one.learn(str(number), "cell-7")
    one.learn("0", "cell-8")
    one.learn("10000", "cell-8")
    assert len(one.tokens) == 10_000
    assert "1" not in one.tokens
    assert (one.tokens["0"], one.tokens["10000"]) == ("cell-8", "cell-8")
