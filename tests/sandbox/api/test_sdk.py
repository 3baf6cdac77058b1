"""The official SDK, blocking and asyncio, against the sandbox: all calls that concern webhooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import linq
import pytest
from standardwebhooks import WebhookVerificationError

from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from tests.sandbox.running import API_KEY, LINE, LINES, OTHER_LINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.sandbox.running import Endpoint, RunningSandbox

    Call = Callable[..., Awaitable[Any]]

ROUTING = {"routing_key_header": "X-Cell", "routing_id_header": "X-Chat"}


@pytest.fixture(params=["asyncio", "blocking"])
async def client(request: pytest.FixtureRequest, sandbox: RunningSandbox) -> AsyncIterator[Any]:
    """Provide the blocking and the asyncio client of the SDK."""
    if request.param == "asyncio":
        async with linq.AsyncLinqAPIV3(api_key=API_KEY, base_url=sandbox.base_url, max_retries=0) as running:
            yield running
    else:
        with linq.LinqAPIV3(api_key=API_KEY, base_url=sandbox.base_url, max_retries=0) as blocking:
            yield blocking


@pytest.fixture
def call(client: Any) -> Call:
    """Return a function that calls a method of the client, in a thread if it blocks."""

    async def called(method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        if isinstance(client, linq.LinqAPIV3):
            return await asyncio.to_thread(method, *arguments, **keywords)
        return await method(*arguments, **keywords)

    return called


def valid(response: Any) -> Any:
    """Validate a response with its SDK type and return it; the SDK itself does not validate."""
    type(response).model_validate(response.to_dict())
    return response


async def test_subscription_lifecycle(client: Any, call: Call, endpoint: Endpoint) -> None:
    api = client.webhook_subscriptions
    made = valid(
        await call(
            api.create,
            target_url=f"{endpoint.url}/?line=1",
            subscribed_events=["message.received"],
            phone_numbers=[LINE],
            **ROUTING,
        )
    )
    assert made.signing_secret.startswith("whsec_")
    assert (made.routing_key_header, made.routing_id_header) == ("X-Cell", "X-Chat")

    retrieved = valid(await call(api.retrieve, made.id))
    assert retrieved.to_dict() == {name: value for name, value in made.to_dict().items() if name != "signing_secret"}

    changed = valid(
        await call(
            api.update,
            made.id,
            target_url=f"{endpoint.url}/?line=2",
            subscribed_events=["message.sent"],
            phone_numbers=None,
            routing_key_header=None,
            routing_id_header="",
            is_active=False,
        )
    )
    assert (changed.target_url, changed.subscribed_events) == (f"{endpoint.url}/?line=2", ["message.sent"])
    assert (changed.phone_numbers, changed.is_active) == (None, False)
    assert (changed.routing_key_header, changed.routing_id_header) == (None, None)

    listed = valid(await call(api.list)).subscriptions
    assert [subscription.to_dict() for subscription in listed] == [changed.to_dict()]
    assert await call(api.delete, made.id) is None
    assert (await call(api.list)).subscriptions == []


async def test_phone_numbers_and_event_types_are_listed(client: Any, call: Call) -> None:
    types = valid(await call(client.webhook_events.list))
    assert tuple(types.events) == KNOWN_EVENT_TYPES
    assert types.doc_url.startswith("https://docs.linqapp.com/")
    numbers = valid(await call(client.phone_numbers.list)).phone_numbers
    with pytest.warns(DeprecationWarning, match="deprecated"):
        older = valid(await call(client.phonenumbers.list)).phone_numbers
    assert tuple(number.phone_number for number in numbers) == LINES
    assert [(number.id, number.phone_number) for number in older] == [
        (number.id, number.phone_number) for number in numbers
    ]
    assert all(number.capabilities.sms and number.country_code is None and number.type is None for number in older)


async def test_calls_to_a_line_can_be_forwarded(client: Any, call: Call) -> None:
    number = next(
        number for number in (await call(client.phone_numbers.list)).phone_numbers if number.phone_number == OTHER_LINE
    )
    forwarded = valid(await call(client.phone_numbers.update, number.id, forwarding_number="+13035550100"))
    assert (forwarded.phone_number, forwarded.forwarding_number) == (OTHER_LINE, "+13035550100")
    listed = {
        subscription.id: subscription.forwarding_number
        for subscription in (await call(client.phone_numbers.list)).phone_numbers
    }
    assert listed.pop(number.id) == "+13035550100"
    assert set(listed.values()) == {None}
    assert (await call(client.phone_numbers.update, number.id, forwarding_number="")).forwarding_number is None


async def test_errors_are_sdk_errors(client: Any, call: Call, sandbox: RunningSandbox) -> None:
    api = client.webhook_subscriptions
    good: Any = {"target_url": "https://relay.example.com/x", "subscribed_events": ["message.sent"]}
    foreign = (await (await sandbox.http.post(f"{sandbox.url}/sandbox/foreign-subscription")).json())["id"]
    await call(api.create, **good)
    expected: list[tuple[Any, int, Call, tuple[Any, ...], Any]] = [
        (linq.BadRequestError, 1001, api.create, (), good | {"subscribed_events": []}),
        (linq.BadRequestError, 1002, api.create, (), good | {"phone_numbers": ["0123"]}),
        (linq.BadRequestError, 1003, client.post, ("/v3/webhook-subscriptions",), {"body": [], "cast_to": object}),
        (linq.BadRequestError, 1005, api.create, (), good | {"target_url": "nowhere"}),
        (linq.PermissionDeniedError, 2005, api.retrieve, (foreign,), {}),
        (linq.NotFoundError, 2010, api.retrieve, ("nothing",), {}),
        (linq.ConflictError, 2015, api.create, (), good),
        (linq.NotFoundError, 2019, client.phone_numbers.update, ("nothing",), {"forwarding_number": None}),
        (linq.AuthenticationError, 2004, client.with_options(api_key="wrong").webhook_subscriptions.list, (), {}),
    ]
    for kind, code, method, arguments, keywords in expected:
        with pytest.raises(kind) as refused:
            await call(method, *arguments, **keywords)
        error = refused.value
        assert (error.code, error.doc_url) == (code, f"https://docs.linqapp.com/error/codes/{code // 1000}xxx/{code}/")


async def test_delivery_can_be_unwrapped(client: Any, call: Call, sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    events = ["message.received", "chat.typing_indicator.started", "reaction.added"]
    made = await call(client.webhook_subscriptions.create, target_url=endpoint.url, subscribed_events=events)
    ids = {(await sandbox.emit(event_type, line=LINE))["event_id"]: event_type for event_type in events}
    await sandbox.settled()
    assert len(endpoint.received) == len(events)
    for received in endpoint.received:
        body = received.body.decode()
        event = client.webhooks.unwrap(body, headers=received.headers, key=made.signing_secret)
        assert ids[event.event_id] == event.event_type
        with pytest.raises(WebhookVerificationError):
            client.webhooks.unwrap(body + " ", headers=received.headers, key=made.signing_secret)


@pytest.mark.parametrize(("status", "code", "seconds"), [(429, 1007, 7), (500, 3006, None)])
async def test_injected_errors_are_sdk_errors(
    client: Any, call: Call, sandbox: RunningSandbox, status: int, code: int, seconds: int | None
) -> None:
    await sandbox.fault("api_error", status=status, retry_after=7, count=1)
    with pytest.raises(linq.APIStatusError) as refused:
        await call(client.webhook_subscriptions.list)
    error: Any = refused.value
    assert (error.status_code, error.code, error.retry_after) == (status, code, seconds)
    assert error.response.headers.get("Retry-After") == (str(seconds) if seconds else None)
    assert (await call(client.webhook_subscriptions.list)).subscriptions == []
