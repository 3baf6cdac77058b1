"""Bases and field types of the models of the API.

Times are RFC 3339 in UTC, durations are texts as in relay.toml (`30s`, `2h`), and lists come in pages.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
)

from relay.core.durations import format_duration, parse_duration
from relay.core.errors import Invalid, Problem
from relay.services.page import DEFAULT_LIMIT, MAX_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")


class Input(BaseModel):
    """Base of what a request has: frozen, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(BaseModel):
    """Base of what a response has; read from the attributes of what a service returns."""

    model_config = ConfigDict(
        from_attributes=True,
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )


def moment(ms: float) -> datetime:
    """Return Unix milliseconds, as services count, as a time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def optional_moment(ms: float | None) -> datetime | None:
    """Return Unix milliseconds as a time; None if there is none."""
    return None if ms is None else moment(ms)


def _moment(value: Any) -> Any:
    return moment(value) if isinstance(value, int | float) else value


def _moment_text(value: datetime) -> str:
    milliseconds = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return milliseconds.replace("+00:00", "Z")


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


_SHOWN_MOMENT = (
    PlainSerializer(_moment_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-09-14T09:15:02.000Z"]}),
)

Moment = Annotated[datetime, BeforeValidator(_moment), *_SHOWN_MOMENT]
"""A time of a response; Unix milliseconds where it is read."""

MomentInSeconds = Annotated[datetime, BeforeValidator(lambda value: _moment(value * 1000)), *_SHOWN_MOMENT]
"""A time of a response; Unix seconds where it is read."""

DURATION_PATTERN = r"^\d+(\.\d+)?(ms|s|m|h|d)$"

DurationText = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s"]}),
]
"""Seconds, as a duration of relay.toml."""


PLUS = BeforeValidator(lambda value: re.sub("^ ", "+", value) if isinstance(value, str) else value)
"""Takes a number whose plus sign was not escaped in a URL, where it means a space."""

_ZONE_WITHOUT_PLUS = re.compile(r"(T.*\d) (\d\d:?\d\d)$")  # likewise

_AWARE = TypeAdapter(AwareDatetime)


def _when(value: Any) -> datetime | float:
    if not isinstance(value, str):
        raise ValueError("it must be a string")  # noqa: TRY004  pydantic collects ValueErrors
    try:
        return parse_duration(value)
    except ValueError:
        pass
    try:
        return _AWARE.validate_strings(_ZONE_WITHOUT_PLUS.sub(r"\1+\2", value))
    except ValueError:
        raise ValueError(
            'it is not a time; write one with its zone, such as "2026-09-14T09:15:00Z", or an age, such as "2h"'
        ) from None


When = Annotated[
    datetime | float,
    PlainValidator(_when, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "examples": ["2026-09-14T09:15:00Z", "2h"]}),
]
"""A time in a request, or its age in seconds."""


def ms_of(when: datetime | float | None, now_ms: int) -> float | None:
    """Return a time of a request in Unix milliseconds."""
    if when is None:
        return None
    return max(now_ms - when * 1000, 0.0) if isinstance(when, int | float) else max(when.timestamp() * 1000, 0.0)


Why = Annotated[str, Field(min_length=1, max_length=500, description="The reason; it is kept in the audit.")]


class Reason(Input):
    """The reason of a change."""

    why: Why


class Paging(Input):
    """The part of a list that is asked for."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    """Number of items, at most."""
    cursor: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """The `next` of the page before; without it, the first page."""


class Page(Output, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next: str | None = None
    """The `cursor` of the next page; null on the last."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return the name of pages of an item, such as `TopicPage`."""
        return f"{params[0].__name__}Page"


def part_of(items: Iterable[Any], paging: Paging, form: type[Item], key: Callable[[Any], str]) -> Page[Item]:
    """Return a page of a list that is known as a whole, in the order of its keys; the cursor is the last key.

    Raises:
        Invalid: it is not a cursor.
    """
    after = key_after(paging)
    rest = sorted(((key(item), item) for item in items if key(item) > after), key=lambda pair: pair[0])
    shown = rest[: paging.limit]
    following = cursor_after(shown[-1][0]) if len(rest) > len(shown) else None
    adapter = TypeAdapter(form)
    found = [adapter.validate_python(item, from_attributes=True) for _, item in shown]
    return Page[form](items=found, next=following)  # type: ignore[valid-type]


def cursor_after(key: str) -> str:
    """Return the cursor of the page that follows the item with this key."""
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def key_after(paging: Paging) -> str:
    """Return the key of the last item of the page before; empty for the first page.

    Raises:
        Invalid: it is not a cursor.
    """
    if paging.cursor is None:
        return ""
    try:
        return urlsafe_b64decode(paging.cursor.encode("ascii") + b"=" * (-len(paging.cursor) % 4)).decode()
    except ValueError:
        raise Invalid(Problem("cursor", "it is not one of this list; use the `next` of a page")) from None
