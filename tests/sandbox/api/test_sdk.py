"""The official SDK as it comes, blocking and asyncio: all of it that webhooks need, against the sandbox."""

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
    """The SDK's client of either kind."""
    if request.param == "asyncio":
        async with linq.AsyncLinqAPIV3(api_key=API_KEY, base_url=sandbox.base_url, max_retries=0) as running:
            yield running
    else:
        with linq.LinqAPIV3(api_key=API_KEY, base_url=sandbox.base_url, max_retries=0) as blocking:
            yield blocking


@pytest.fixture
def call(client: Any) -> Call:
    """Calls a method of the client, in a thread if it blocks."""

    async def called(method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if isinstance(client, linq.LinqAPIV3):
            return await asyncio.to_thread(method, *arguments, **named)
        return await method(*arguments, **named)

    return called


def valid(answer: Any) -> Any:
    """The answer, if it is what the SDK's own type says; the SDK itself does not complain."""
    type(answer).model_validate(answer.to_dict())
    return answer


async def test_the_whole_life_of_a_subscription(client: Any, call: Call, endpoint: Endpoint) -> None:
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

    shown = valid(await call(api.retrieve, made.id))
    assert shown.to_dict() == {name: value for name, value in made.to_dict().items() if name != "signing_secret"}

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
    assert [one.to_dict() for one in listed] == [changed.to_dict()]
    assert await call(api.delete, made.id) is None
    assert (await call(api.list)).subscriptions == []


async def test_what_can_be_looked_up(client: Any, call: Call) -> None:
    types = valid(await call(client.webhook_events.list))
    assert tuple(types.events) == KNOWN_EVENT_TYPES
    assert types.doc_url.startswith("https://docs.linqapp.com/")
    numbers = valid(await call(client.phone_numbers.list)).phone_numbers
    with pytest.warns(DeprecationWarning, match="deprecated"):
        older = valid(await call(client.phonenumbers.list)).phone_numbers
    assert tuple(one.phone_number for one in numbers) == LINES
    assert [(one.id, one.phone_number) for one in older] == [(one.id, one.phone_number) for one in numbers]
    assert all(one.capabilities.sms and one.country_code is None and one.type is None for one in older)


async def test_calls_of_a_line_can_be_forwarded(client: Any, call: Call) -> None:
    number = next(
        one for one in (await call(client.phone_numbers.list)).phone_numbers if one.phone_number == OTHER_LINE
    )
    forwarded = valid(await call(client.phone_numbers.update, number.id, forwarding_number="+13035550100"))
    assert (forwarded.phone_number, forwarded.forwarding_number) == (OTHER_LINE, "+13035550100")
    listed = {one.id: one.forwarding_number for one in (await call(client.phone_numbers.list)).phone_numbers}
    assert listed.pop(number.id) == "+13035550100"
    assert set(listed.values()) == {None}
    assert (await call(client.phone_numbers.update, number.id, forwarding_number="")).forwarding_number is None


async def test_errors_come_as_the_sdks_own(client: Any, call: Call, sandbox: RunningSandbox) -> None:
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
    for kind, code, method, arguments, named in expected:
        with pytest.raises(kind) as refused:
            await call(method, *arguments, **named)
        error = refused.value
        assert (error.code, error.doc_url) == (code, f"https://docs.linqapp.com/error/codes/{code // 1000}xxx/{code}/")


async def test_a_delivery_can_be_unwrapped(
    client: Any, call: Call, sandbox: RunningSandbox, endpoint: Endpoint
) -> None:
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
async def test_errors_on_request_come_as_the_sdks_own_too(
    client: Any, call: Call, sandbox: RunningSandbox, status: int, code: int, seconds: int | None
) -> None:
    await sandbox.fault("api_error", status=status, retry_after=7, count=1)
    with pytest.raises(linq.APIStatusError) as refused:
        await call(client.webhook_subscriptions.list)
    error: Any = refused.value
    assert (error.status_code, error.code, error.retry_after) == (status, code, seconds)
    assert error.response.headers.get("Retry-After") == (str(seconds) if seconds else None)
    assert (await call(client.webhook_subscriptions.list)).subscriptions == []
