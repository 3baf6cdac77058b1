"""Linq's v3 API, through its official SDK: lines, event types, webhook subscriptions.

The SDK retries connection errors, 408, 409 and 5xx twice. A rate limit is waited out here, since the SDK ignores a
Retry-After of more than a minute. What still fails becomes a `LinqApiError` that says what Linq said, and so does an
answer that is not Linq's: the SDK hands on whatever came with a 2xx.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import linq
from linq.types.webhook_event_type import WebhookEventType

from relay.core.delivery.outcome import retry_after_seconds
from relay.core.errors import LinqApiError
from relay.core.lines import is_line
from relay.core.secret import SigningSecret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

RATE_TIMEOUT = 300.0
"""Seconds that a call whose rate Linq limits is made again; then it has failed."""

_DEFAULT_RETRY_AFTER = 5.0
_MAX_SAID = 500  # characters of an error that may be a whole page of HTML

Answer = TypeVar("Answer")

KNOWN_EVENT_TYPES: tuple[str, ...] = get_args(WebhookEventType)
"""The event types of the SDK that is installed; Linq may offer more."""


@dataclass(frozen=True, slots=True)
class LinqSubscription:
    """A webhook subscription at Linq."""

    id: str
    target_url: str
    events: frozenset[str]
    phone_numbers: frozenset[str]
    """The lines it is filtered by; empty for all."""
    is_active: bool


class LinqApi:
    """The calls that bootstrap needs. When Linq limits their rate, all of them wait as long as it says."""

    def __init__(self, client: linq.AsyncLinqAPIV3) -> None:
        self._client = client
        self._resume_at = 0.0  # seconds of the loop's clock

    async def lines(self) -> list[str]:
        """Every line of the account, E.164.

        Raises:
            LinqApiError: the call failed, or Linq lists none.
        """
        numbers = await self._ask("listing phone numbers", self._client.phone_numbers.list, _phone_numbers)
        lines = [number for number in numbers if is_line(number)]
        if not lines:
            raise LinqApiError("Linq lists no phone numbers for this key; is it the key of the right environment?")
        return sorted(set(lines))

    async def event_types(self) -> list[str]:
        """Every event type that can be subscribed to; the SDK's list if this Linq does not tell."""
        try:
            return await self._ask("listing event types", self._client.webhook_events.list, _event_types)
        except LinqApiError as error:
            if isinstance(error.__cause__, linq.NotFoundError):
                return list(KNOWN_EVENT_TYPES)
            raise

    async def subscriptions(self) -> list[LinqSubscription]:
        """Every webhook subscription of the account, ours and others'."""
        return await self._ask("listing webhook subscriptions", self._client.webhook_subscriptions.list, _subscriptions)

    async def create(
        self, target_url: str, events: Sequence[str], line: str | None
    ) -> tuple[LinqSubscription, SigningSecret]:
        """A new subscription for `line` or for the account, and its secret, which Linq shows this once."""
        call = partial(
            self._client.webhook_subscriptions.create,
            target_url=target_url,
            subscribed_events=list(events),  # type: ignore[arg-type]  # an open set; the SDK's Literal is what it knew at its release
            phone_numbers=[line] if line else linq.omit,
        )
        return await self._ask(f"creating the subscription of {line or 'the account'}", call, _created)

    async def update(self, subscription_id: str, events: Sequence[str], line: str | None) -> None:
        """Sets the events and the line (None: all lines) of a subscription, and makes it active."""
        call = partial(
            self._client.webhook_subscriptions.update,
            subscription_id,
            subscribed_events=list(events),  # type: ignore[arg-type]  # as above
            phone_numbers=[line] if line else None,
            is_active=True,
        )
        await self._ask(f"updating the subscription of {line or 'the account'}", call, _subscription)

    async def delete(self, subscription_id: str) -> None:
        """Deletes a subscription; one that is gone already is fine."""
        try:
            await self._paced(partial(self._client.webhook_subscriptions.delete, subscription_id))
        except linq.NotFoundError:
            pass
        except linq.LinqApiv3Error as error:
            raise _translated(error, f"deleting subscription {subscription_id}") from error

    async def _ask(self, what: str, call: Callable[[], Awaitable[Any]], read: Callable[[Any], Answer]) -> Answer:
        """What `read` makes of the answer."""
        try:
            return read(await self._paced(call))
        except linq.LinqApiv3Error as error:
            raise _translated(error, what) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise LinqApiError(f"{what}: the answer is not Linq's; is LINQ_API_V3_BASE_URL right?") from error

    async def _paced(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """What `call` answers, made again after the time that Linq names when it limits the rate."""
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + RATE_TIMEOUT
        while True:
            await asyncio.sleep(max(self._resume_at - clock(), 0))
            try:
                return await call()
            except linq.RateLimitError as error:
                resume_at = clock() + _retry_after(error)
                if resume_at > give_up_at:
                    raise
                self._resume_at = max(self._resume_at, resume_at)


@asynccontextmanager
async def open_linq(api_key: str, base_url: str) -> AsyncIterator[LinqApi]:
    """A client of the Linq at `base_url`."""
    http = linq.DefaultAsyncHttpxClient(event_hooks={"response": [_leave_rate_limits_to_us]})
    async with linq.AsyncLinqAPIV3(api_key=api_key, base_url=base_url, http_client=http) as client:
        yield LinqApi(client)


async def _leave_rate_limits_to_us(response: Any) -> None:
    """Has the SDK not retry a 429; the header is its own (`x-should-retry`)."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        response.headers["x-should-retry"] = "false"


def _retry_after(error: linq.RateLimitError) -> float:
    """Seconds that Linq asks to wait, in the body or in the header (https://docs.linqapp.com/error/codes/)."""
    detail = error.body if isinstance(error.body, dict) else {}
    seconds = detail.get("retry_after")
    if isinstance(seconds, (int, float)):
        return max(float(seconds), 0.0)
    headers = error.response.headers
    if (milliseconds := headers.get("retry-after-ms", "")).isdecimal():  # as the SDK takes it
        return float(milliseconds) / 1000
    told = retry_after_seconds(headers.get("Retry-After"), time.time())
    return _DEFAULT_RETRY_AFTER if told is None else told


def _translated(error: linq.LinqApiv3Error, what: str) -> LinqApiError:
    if isinstance(error, linq.AuthenticationError):
        return LinqApiError(f"{what}: Linq refuses the key in LINQ_API_V3_API_KEY (401)")
    if not isinstance(error, linq.APIStatusError):
        return LinqApiError(f"{what}: Linq cannot be reached: {error}")
    detail: dict[str, Any] = error.body if isinstance(error.body, dict) else {}  # the SDK unwraps Linq's `error` object
    said = str(detail.get("message") or error.message)
    said = said if len(said) <= _MAX_SAID else f"{said[:_MAX_SAID]} ..."
    if not detail and (isinstance(error, linq.NotFoundError) or error.status_code < HTTPStatus.BAD_REQUEST):
        # nobody there knows Linq's errors
        said = f"{said}; is LINQ_API_V3_BASE_URL right?"
    code = f", code {detail['code']}" if detail.get("code") else ""
    doc = f"; see {detail['doc_url']}" if detail.get("doc_url") else ""
    return LinqApiError(f"{what}: {said} (status {error.status_code}{code}){doc}")


def _phone_numbers(answer: Any) -> list[str]:
    return [row.phone_number for row in _rows(answer, "phone_numbers")]


def _event_types(answer: Any) -> list[str]:
    return [_text(event) for event in _rows(answer, "events")]


def _subscriptions(answer: Any) -> list[LinqSubscription]:
    return [_subscription(row) for row in _rows(answer, "subscriptions")]


def _created(row: Any) -> tuple[LinqSubscription, SigningSecret]:
    return _subscription(row), SigningSecret(_text(row.signing_secret))


def _rows(answer: Any, field: str) -> Sequence[Any]:
    """The list that an answer has to have, though it may be null; none at all is not the same as an empty one."""
    if field not in answer.model_fields_set:
        raise ValueError(f"no {field}")
    return getattr(answer, field) or ()


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no text")
    return value


def _subscription(row: Any) -> LinqSubscription:
    return LinqSubscription(
        id=_text(row.id),
        target_url=_text(row.target_url),
        events=frozenset(row.subscribed_events or ()),
        phone_numbers=frozenset(row.phone_numbers or ()),
        is_active=bool(row.is_active),
    )
