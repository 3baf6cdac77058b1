"""The forms of values in relay.toml: what a reader writes for a field's type, and how a default is spelt."""

from __future__ import annotations

from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from relay.core.config.endpoint import Secrets, Value
from relay.core.config.fields import Duration, Line, Name, Pattern, Size, Url
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic.fields import FieldInfo

_ALIASES: dict[str, Any] = {
    "duration": Duration,
    "size": Size,
    "phone number": Line,
    "event pattern": Pattern,
    "name": Name,
    "URL": Url,
    "secret": Secrets,
    "text or reference": Value,
}
_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "text"}
_BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("B", 1))


def annotation_of(field: FieldInfo) -> Any:
    """Return a field's annotation as it was written, with its metadata."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def form_of(annotation: Any) -> str:
    """Return the form of a value in words, such as `list of phone numbers`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *metadata = arguments
        named = (name for name, alias in _ALIASES.items() if _is_made_from(alias, inner, metadata))
        form = next(named, None) or form_of(inner)
        return ", ".join((form, *(_bounds(metadata, is_duration=form == "duration"))))
    if origin in {Union, UnionType}:
        return " or ".join(form_of(argument) for argument in arguments if argument is not NoneType)
    if origin is Literal:
        return _choices(arguments)
    if origin is tuple:
        return _list_of(form_of(arguments[0]))
    if origin is dict:
        return f"table of {form_of(arguments[1])}"
    return _form_of_class(annotation)


def _form_of_class(annotation: Any) -> str:
    if not isinstance(annotation, type):
        return "text"
    if issubclass(annotation, Enum):
        return _choices([member.value for member in annotation])
    return "table, see below" if issubclass(annotation, BaseModel) else _PLAIN.get(annotation, "text")


def _choices(values: Sequence[str | bool]) -> str:
    return ", ".join("`true`" if value is True else f'`"{value}"`' for value in values)


def _list_of(form: str) -> str:
    return f"list of {form}" if form.startswith("`") else f"list of {form}s"


def _is_made_from(alias: Any, inner: Any, metadata: Sequence[Any]) -> bool:
    """Return True if `inner` and `metadata` are those of an alias such as `Duration`; further bounds do not matter."""
    origin, *needed = get_args(alias)
    present = _flat(metadata)
    return bool(origin == inner) and all(any(_is_same(item, other) for other in present) for item in _flat(needed))


def _flat(metadata: Sequence[Any]) -> list[Any]:
    """Return `metadata` with the constraints of each `Field(...)` in its place."""
    return [constraint for item in metadata for constraint in getattr(item, "metadata", None) or (item,)]


def _is_same(left: Any, right: Any) -> bool:
    """Return True if two constraints are equal; those of pydantic itself do not define equality."""
    return bool(left == right) or (type(left) is type(right) and repr(left) == repr(right))


def _bounds(metadata: Sequence[Any], *, is_duration: bool) -> Iterator[str]:
    for constraint in _flat(metadata):
        for name, words in _BOUNDS.items():
            if (bound := getattr(constraint, name, None)) is not None:
                yield words.format(format_duration(bound) if is_duration and bound else bound)


def default_of(field: FieldInfo) -> str:
    """Return a field's default as relay.toml would spell it; empty if that is the same as leaving the key out."""
    spelt = _spelt(field.get_default(call_default_factory=True), form_of(annotation_of(field)))
    return f"`{spelt}`" if spelt else ""


def _spelt(value: Any, form: str) -> str:
    match value:
        case None | {} | ():
            return ""
        case bool():
            return str(value).lower()
        case BaseModel():
            fields = type(value).model_fields.items()
            keys = ((f.alias or name, _spelt(getattr(value, name), form_of(annotation_of(f)))) for name, f in fields)
            return f"{{ {', '.join(f'{name} = {text}' for name, text in keys if text)} }}"
        case tuple():
            return f"[{', '.join(_spelt(item, form) for item in value)}]"
        case _:
            return _scalar(value, form)


def _scalar(value: Any, form: str) -> str:
    if "duration" in form:
        return f'"{format_duration(value)}"'
    if form == "size":
        return next(f'"{value // factor}{unit}"' for unit, factor in _UNITS if value % factor == 0)
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
