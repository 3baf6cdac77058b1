"""Linq's v3 API, through its official SDK: lines, event types, webhook subscriptions.

The SDK retries connection errors, 408, 409 and 5xx twice. Rate limits are handled here, since the SDK ignores a
Retry-After of more than a minute. A call that still fails raises a `LinqApiError` with Linq's message, and so does a
response that is not Linq's: the SDK passes on any body of a 2xx.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

import linq
from linq.types.webhook_event_type import WebhookEventType

from relay.core.errors import LinqApiError
from relay.core.lines import is_line
from relay.core.secret import SigningSecret
from relay.linq.api.rate_limit import retry_after
from relay.linq.api.sdk import open_sdk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

RATE_TIMEOUT = 300.0
"""Seconds for which a rate-limited call is retried before it fails."""

_MAX_MESSAGE = 500  # characters of an error, which may be a whole page of HTML

Answer = TypeVar("Answer")

KNOWN_EVENT_TYPES: tuple[str, ...] = get_args(WebhookEventType)
"""Event types of the installed SDK; Linq may offer more."""


@dataclass(frozen=True, slots=True)
class LinqSubscription:
    """A webhook subscription at Linq."""

    id: str
    target_url: str
    events: frozenset[str]
    phone_numbers: frozenset[str]
    """Lines that it is filtered by; empty for all."""
    is_active: bool


@dataclass(frozen=True, slots=True)
class ListedLines:
    """The lines of an account."""

    lines: Sequence[str]
    """E.164."""
    unreadable: tuple[str, ...] = ()
    """Numbers that Linq lists and that are not E.164."""


class ListedLine(NamedTuple):
    """A line in Linq's list."""

    line: str
    """E.164."""
    kind: str | None = None
    """`iMessage` or `RCS` (`line_type`); None if it does not tell."""
    reputation: str | None = None
    """`HEALTHY`, `AT_RISK` or `CRITICAL`; None if it does not tell."""


class LinqApi:
    """Calls that bootstrap needs. When Linq limits the rate, all of them wait for the time it requests."""

    def __init__(self, client: linq.AsyncLinqAPIV3) -> None:
        self._client = client
        self._resume_at = 0.0  # seconds of the loop's clock

    async def lines(self) -> ListedLines:
        """List every line of the account.

        Raises:
            LinqApiError: the call failed, or Linq lists none.
        """
        rows = await self._numbers(_number)
        numbers = sorted(set(rows))
        lines = [number for number in numbers if is_line(number)]
        if not lines:
            raise LinqApiError(
                "Linq lists no phone numbers for this key; check that LINQ_API_V3_API_KEY is of the right environment"
            )
        return ListedLines(lines, tuple(number for number in numbers if not is_line(number)))

    async def listed_lines(self) -> list[ListedLine]:
        """List every line of the account with its type and reputation; numbers that are not E.164 are left out."""
        return [each for each in await self._numbers(_listed_line) if is_line(each.line)]

    async def _numbers(self, read: Callable[[Any], Answer]) -> list[Answer]:
        return await self._list("listing phone numbers", self._client.phone_numbers.list, "phone_numbers", read)

    async def event_types(self) -> list[str]:
        """List every event type that can be subscribed to; the SDK's list if this Linq has no such endpoint."""
        try:
            return await self._list("listing event types", self._client.webhook_events.list, "events", _text)
        except LinqApiError as error:
            if isinstance(error.__cause__, linq.NotFoundError):
                return list(KNOWN_EVENT_TYPES)
            raise

    async def subscriptions(self) -> list[LinqSubscription]:
        """List every webhook subscription of the account, ours and others'."""
        call = self._client.webhook_subscriptions.list
        return await self._list("listing webhook subscriptions", call, "subscriptions", _subscription)

    async def exists(self, subscription_id: str) -> bool:
        """Return True if the account has a subscription with this id, whatever its list says."""
        what = f"reading subscription {subscription_id}"
        try:
            await self._ask(what, partial(self._client.webhook_subscriptions.retrieve, subscription_id), _subscription)
        except LinqApiError as error:
            if isinstance(error.__cause__, linq.NotFoundError | linq.PermissionDeniedError):
                return False
            raise
        return True

    async def create(
        self, target_url: str, events: Sequence[str], line: str | None
    ) -> tuple[LinqSubscription, SigningSecret]:
        """Create a subscription for `line` or for the account; return it and its secret, which Linq shows only once."""
        call = partial(
            self._client.webhook_subscriptions.create,
            target_url=target_url,
            subscribed_events=list(events),  # type: ignore[arg-type]  # an open set; the SDK's Literal is what it knew at its release
            phone_numbers=[line] if line else linq.omit,
        )
        return await self._ask(f"creating the subscription of {line or 'the account'}", call, _created)

    async def update(
        self, subscription_id: str, events: Sequence[str], line: str | None, target_url: str | None = None
    ) -> None:
        """Set the events and the line (None: all lines) of a subscription, and activate it; its URL, if one is given.

        Its secret stays.
        """
        call = partial(
            self._client.webhook_subscriptions.update,
            subscription_id,
            subscribed_events=list(events),  # type: ignore[arg-type]  # as above
            phone_numbers=[line] if line else None,
            is_active=True,
            target_url=target_url or linq.omit,
        )
        await self._ask(f"updating the subscription of {line or 'the account'}", call, _subscription)

    async def delete(self, subscription_id: str) -> None:
        """Delete a subscription; succeeds if it does not exist."""
        try:
            await self._paced(partial(self._client.webhook_subscriptions.delete, subscription_id))
        except linq.NotFoundError:
            pass
        except linq.LinqApiv3Error as error:
            raise _translated(error, f"deleting subscription {subscription_id}") from error

    async def _ask(self, what: str, call: Callable[[], Awaitable[Any]], read: Callable[[Any], Answer]) -> Answer:
        """Make a call and return what `read` extracts from the response; `what` names the call in errors."""
        try:
            return read(await self._paced(call))
        except linq.LinqApiv3Error as error:
            raise _translated(error, what) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise LinqApiError(f"{what}: the response is not Linq's; check LINQ_API_V3_BASE_URL") from error

    async def _list(
        self, what: str, call: Callable[..., Awaitable[Any]], field: str, read: Callable[[Any], Answer]
    ) -> list[Answer]:
        """Read a whole list. Linq documents no pages for these lists; if there are any, every one is read or it fails.

        Pages are as in Linq's other lists: `next_cursor` is null at the end (https://docs.linqapp.com/api/).
        """
        rows: list[Answer] = []
        cursors: set[str] = set()
        asking: Callable[[], Awaitable[Any]] = call
        while True:
            page, cursor, goes_on = await self._ask(what, asking, partial(_page, field=field, read=read))
            rows += page
            if not goes_on:
                return rows
            if cursor is None or cursor in cursors:
                raise LinqApiError(
                    f"{what}: the list has another page, but not in the form of Linq's other lists; nothing is changed"
                )
            cursors.add(cursor)
            asking = partial(call, extra_query={"cursor": cursor})

    async def _paced(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make `call`; retry it after the time that Linq requests while it limits the rate."""
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + RATE_TIMEOUT
        while True:
            await asyncio.sleep(max(self._resume_at - clock(), 0))
            try:
                return await call()
            except linq.RateLimitError as error:
                resume_at = clock() + retry_after(error)
                if resume_at > give_up_at:
                    raise
                self._resume_at = max(self._resume_at, resume_at)


@asynccontextmanager
async def open_linq(api_key: str, base_url: str) -> AsyncIterator[LinqApi]:
    """Open a client of Linq's v3 API at `base_url`."""
    async with open_sdk(api_key, base_url) as client:
        yield LinqApi(client)


def _translated(error: linq.LinqApiv3Error, what: str) -> LinqApiError:
    if isinstance(error, linq.AuthenticationError):
        return LinqApiError(f"{what}: Linq refuses the key in LINQ_API_V3_API_KEY (401)")
    if not isinstance(error, linq.APIStatusError):
        return LinqApiError(f"{what}: Linq cannot be reached: {error}")
    detail: dict[str, Any] = error.body if isinstance(error.body, dict) else {}  # the SDK unwraps Linq's `error` object
    message = str(detail.get("message") or error.message)
    message = message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]} ..."
    if not detail and (isinstance(error, linq.NotFoundError) or error.status_code < HTTPStatus.BAD_REQUEST):
        # an error without Linq's error object: probably another server
        message = f"{message}; check LINQ_API_V3_BASE_URL"
    code = f", code {detail['code']}" if detail.get("code") else ""
    doc = f"; see {detail['doc_url']}" if detail.get("doc_url") else ""
    return LinqApiError(f"{what}: {message} (status {error.status_code}{code}){doc}")


def _page(answer: Any, field: str, read: Callable[[Any], Answer]) -> tuple[list[Answer], str | None, bool]:
    """Return the rows of a page, the cursor of the next one, and True if there is a next one."""
    more: dict[str, Any] = answer.model_extra or {}
    cursor = more.get("next_cursor")
    cursor = None if cursor in {None, ""} else str(cursor)
    return [read(row) for row in _rows(answer, field)], cursor, cursor is not None or bool(more.get("has_more"))


def _number(row: Any) -> str:
    return _text(row.phone_number)


def _listed_line(row: Any) -> ListedLine:
    """Return the facts in a row; some of Linq's servers do not send the type and the reputation yet."""
    reputation = getattr(row.reputation, "status", None) if hasattr(row, "reputation") else None
    kind = getattr(row, "line_type", None)
    return ListedLine(
        _text(row.phone_number),
        kind if isinstance(kind, str) else None,
        reputation if isinstance(reputation, str) else None,
    )


def _created(row: Any) -> tuple[LinqSubscription, SigningSecret]:
    return _subscription(row), SigningSecret(_text(row.signing_secret))


def _rows(answer: Any, field: str) -> Sequence[Any]:
    """Return the list `field`, which may be null; a response without the field is not Linq's."""
    if field not in answer.model_fields_set:
        raise ValueError(f"no {field}")
    return getattr(answer, field) or ()


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a text")
    return value


def _subscription(row: Any) -> LinqSubscription:
    return LinqSubscription(
        id=_text(row.id),
        target_url=_text(row.target_url),
        events=frozenset(row.subscribed_events or ()),
        phone_numbers=frozenset(row.phone_numbers or ()),
        is_active=bool(row.is_active),
    )
