"""Field types of the tables of relay.toml, each with a check of its form and an error that shows the right form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from relay.core.durations import parse_duration
from relay.core.lines import is_line, line_meant_by
from relay.core.net.masked_url import unreadable_url
from relay.core.patterns import pattern_problem

if TYPE_CHECKING:
    from collections.abc import Callable


_BYTES = TypeAdapter(ByteSize)
_MIN_SIZE = 1_000_000


def _pattern(text: str) -> str:
    if problem := pattern_problem(text):
        raise ValueError(problem)
    return text


def _line(text: str) -> str:
    if is_line(text):
        return text
    meant = line_meant_by(text)
    hint = f'; did you mean "{meant}"?' if meant else ', such as "+16465550123"'
    raise ValueError(f'"{text}" is not a phone number in E.164{hint}')


def checked_url(text: str) -> str:
    """Return `text` if it is an http or https URL.

    Raises:
        ValueError: it is not.
    """
    try:
        url = urlsplit(text)
        is_valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or any(character.isspace() for character in text):
        raise ValueError(unreadable_url(text, "an http or https URL"))
    return text


def _size(text: str) -> int:
    try:
        size = _BYTES.validate_python(text)
    except ValidationError:
        raise ValueError(f'"{text}" is not a size, such as "500MB" or "2GiB"') from None
    if size < _MIN_SIZE:
        raise ValueError(f'"{text}" is less than 1MB, which is too small for a burst of events')
    return int(size)


def text_of(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return `parse` for values that must be strings."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"write it as a string, not as {value!r}")  # noqa: TRY004  pydantic collects ValueErrors
        return parse(value)

    return validate


def one_or_more(value: Any) -> Any:
    """Turn a single value into a list; a condition may be either."""
    return [value] if isinstance(value, str) else value


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Line = Annotated[str, AfterValidator(_line)]
Url = Annotated[str, AfterValidator(checked_url)]
Size = Annotated[int, BeforeValidator(text_of(_size))]
Duration = Annotated[float, BeforeValidator(text_of(parse_duration))]


class Table(BaseModel):
    """Base of every table: frozen, and without unknown keys.

    Its validator is built when it validates first: that of relay.toml as a whole has those of all tables inside, which
    would each be built before it, for a tenth of the CPU time in which a worker starts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)
