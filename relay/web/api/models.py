"""Bases and field types of the models of the API.

Times are RFC 3339 in UTC, durations are texts as in relay.toml (`30s`, `2h`), and lists come in pages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from relay.core.durations import format_duration, parse_duration

MAX_PAGE = 200
"""Items of a page, at most."""
_PAGE = 50

Item = TypeVar("Item")


class Input(BaseModel):
    """Base of what a request has: frozen, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Output(BaseModel):
    """Base of what a response has; read from the attributes of what a service returns."""

    model_config = ConfigDict(
        from_attributes=True,
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


def _moment(value: Any) -> Any:
    """Turn Unix milliseconds, as services count, into a time."""
    return datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int | float) else value


def _moment_text(value: datetime) -> str:
    milliseconds = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return milliseconds.replace("+00:00", "Z")


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    PlainSerializer(_moment_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-09-14T09:15:02.000Z"]}),
]
"""A time of a response; Unix milliseconds where it is read."""

DURATION_PATTERN = r"^\d+(\.\d+)?(ms|s|m|h|d)$"

DurationText = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s"]}),
]
"""Seconds, as a duration of relay.toml."""


class Paging(Input):
    """The part of a list that is asked for."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = _PAGE
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
