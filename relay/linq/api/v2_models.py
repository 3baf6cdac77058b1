"""What Linq's v2 API answers, good and bad (https://docs.linqapp.com/v2/api).

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
    """Part of an answer: Linq's schema requires no field, so one that is null counts as left out."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, row: Any) -> Any:
        return {name: value for name, value in row.items() if value is not None} if isinstance(row, dict) else row


class V2Subscription(_Row):
    """A webhook subscription of the v2 API."""

    id: int
    webhook_url: str = ""
    version: int | None = None
    """The payloads' version; 2 for those of this API."""
    events: frozenset[str] = frozenset()
    active: bool | None = None
    secret_configured: bool | None = None
    """Whether it has a secret, which Linq never shows."""
    last_delivered_at: datetime | None = None
    """When an event last got through."""
    delivery_attempts: int = 0


class V2PhoneNumber(_Row):
    """A line as the v2 API lists it."""

    id: int
    phone_number: str
    forwarding_number: str | None = None
    """Where calls go."""
    response_rate: int | None = None
    """Messages a second."""


class OneSubscription(BaseModel):
    """The answer to a creation and to an update."""

    webhook_subscription: V2Subscription


class Subscriptions(BaseModel):
    """The answer to `GET /webhook_subscriptions`."""

    webhook_subscriptions: tuple[V2Subscription, ...]


class PhoneNumbers(BaseModel):
    """The answer to `GET /phone_numbers`."""

    phone_numbers: tuple[V2PhoneNumber, ...]


Answer = TypeVar("Answer", bound=BaseModel)


def read(answer: type[Answer], body: bytes, what: str) -> Answer:
    """The good answer in `body`; `what` says in the error what this was about.

    Raises:
        LinqApiError: it is something else.
    """
    try:
        return answer.model_validate(parse_json(body))
    except ValueError:  # not JSON, or pydantic's: JSON of another shape
        raise LinqApiError(f"{what}: the answer is not Linq's; is LINQ_V2_BASE_URL right?") from None


def refusal(what: str, status: int, body: bytes, hidden: Iterable[str] = ()) -> LinqApiError:
    """What a status other than 2xx comes to; what is `hidden` is not repeated, should Linq have said it."""
    if status == 401:
        return LinqApiError(f"{what}: Linq refuses the token in LINQ_V2_TOKEN (401)")
    said, code = _said(body)
    for secret in filter(None, hidden):
        said = said.replace(secret, "***")
    if not said:
        said = "nothing that Linq would say; is LINQ_V2_BASE_URL right?"
    return LinqApiError(f"{what}: {said} (status {status}{f', code {code}' if code else ''})")


def seconds_of(retry_after: str, now: datetime) -> float:
    """Seconds that a Retry-After header asks to wait, which may name a time instead; 0 without one."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds(), 0.0)


def _said(body: bytes) -> tuple[str, str]:
    """The sentence and the code of an error; both empty for a body that has neither."""
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
