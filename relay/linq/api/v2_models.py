"""Responses of Linq's v2 API, successes and errors (https://docs.linqapp.com/v2/api).

Errors have two shapes. Subscriptions: `{status, error_code, message, errors}`, where `errors` are sentences; everything
else: `{"errors": [{status, code, title, detail}]}`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from relay.core.errors import LinqApiError
from relay.core.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Row(BaseModel):
    """Part of a response: Linq's schema requires no field, so null counts as absent."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, row: Any) -> Any:
        return {name: value for name, value in row.items() if value is not None} if isinstance(row, dict) else row


class V2Subscription(_Row):
    """Webhook subscription of the v2 API."""

    id: int
    webhook_url: str = ""
    version: int | None = None
    """Version of the payloads; 2 for this API."""
    events: frozenset[str] = frozenset()
    active: bool | None = None
    secret_configured: bool | None = None
    """True if it has a secret, which Linq never shows."""
    last_delivered_at: datetime | None = None
    """Time of the last successful delivery."""
    delivery_attempts: int = 0


class V2PhoneNumber(_Row):
    """Line in the v2 API."""

    id: int
    phone_number: str
    forwarding_number: str | None = None
    """Number to which calls are forwarded."""
    response_rate: int | None = None
    """Messages per second."""


class OneSubscription(BaseModel):
    """Response to a creation and to an update."""

    webhook_subscription: V2Subscription


class _List(BaseModel):
    next_cursor: Any = None
    has_more: Any = None

    @property
    def goes_on(self) -> bool:
        """True if the list has a further page; v2 documents none, so nothing is known about reading it."""
        return bool(self.next_cursor or self.has_more)


class Subscriptions(_List):
    """Response to `GET /webhook_subscriptions`."""

    webhook_subscriptions: tuple[V2Subscription, ...]


class PhoneNumbers(_List):
    """Response to `GET /phone_numbers`."""

    phone_numbers: tuple[V2PhoneNumber, ...]


Answer = TypeVar("Answer", bound=BaseModel)
Rows = TypeVar("Rows", bound=_List)


def read(answer: type[Answer], body: bytes, what: str) -> Answer:
    """Parse the body of a 2xx; `what` names the call in the error.

    Raises:
        LinqApiError: the body has another shape.
    """
    try:
        return answer.model_validate(parse_json(body))
    except ValueError:  # not JSON, or pydantic's: JSON of another shape
        raise LinqApiError(f"{what}: the response is not Linq's; check LINQ_V2_BASE_URL") from None


def read_list(answer: type[Rows], body: bytes, what: str) -> Rows:
    """Parse the body of a list; `what` names the call in the error.

    Raises:
        LinqApiError: the body has another shape, or the list has a further page.
    """
    rows = read(answer, body, what)
    if rows.goes_on:
        raise LinqApiError(
            f"{what}: the list has another page, which Linq does not document for v2; nothing is changed"
        )
    return rows


def refusal(what: str, status: int, body: bytes, hidden: Iterable[str] = ()) -> LinqApiError:
    """Return the error for a status other than 2xx; texts in `hidden` are masked in Linq's message."""
    if status == 401:
        return LinqApiError(f"{what}: Linq refuses the token in LINQ_V2_TOKEN (401)")
    message, code = _message_and_code(body)
    for secret in filter(None, hidden):
        message = message.replace(secret, "***")
    if not message:
        message = "the response is not Linq's; check LINQ_V2_BASE_URL"
    return LinqApiError(f"{what}: {message} (status {status}{f', code {code}' if code else ''})")


def seconds_of(retry_after: str, now: datetime) -> float:
    """Parse a Retry-After header, a number or an HTTP date, into seconds; 0 without one."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        time = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max((time.replace(tzinfo=time.tzinfo or UTC) - now).total_seconds(), 0.0)


def _message_and_code(body: bytes) -> tuple[str, str]:
    """Return the message and the code of an error; both empty for a body that has neither."""
    try:
        error = parse_json(body)
    except ValueError:
        return "", ""
    if not isinstance(error, dict):
        return "", ""
    message = str(error.get("message") or "")
    listed = error.get("errors")
    rows = [row if isinstance(row, dict) else {"detail": row} for row in (listed if isinstance(listed, list) else ())]
    details = [str(row.get("detail") or row.get("title") or "") for row in rows]
    more = ", ".join(detail for detail in details if detail not in message)
    codes = [error.get("error_code"), *(row.get("code") for row in rows)]
    return ": ".join(filter(None, (message, more))), next((str(code) for code in codes if code), "")
