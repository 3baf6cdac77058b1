"""Access to the `data` of a payload, and the error for a fact that the other version requires and this one lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


class Untranslatable(ValueError):
    """The payload lacks something that the other version requires, or has another form than is documented."""


def required(data: Json, *names: str) -> Any:
    """Return the first of the fields `names` that has a value.

    Raises:
        Untranslatable: none of them has one.
    """
    for name in names:
        if (value := data.get(name)) is not None:
            return value
    raise Untranslatable(f"the payload has no {' and no '.join(names)}")


def required_object(data: Json, name: str) -> Json:
    """Return an object in `data`.

    Raises:
        Untranslatable: there is none.
    """
    value = data.get(name)
    if not isinstance(value, dict):
        raise Untranslatable(f"the payload has no object {name}")
    return value


def copied(data: Json, names: Iterable[str], *, with_nulls: bool = True) -> Json:
    """Return the fields `names` of `data` that are there; without nulls, those that have a value."""
    return {name: data[name] for name in names if name in data and (with_nulls or data[name] is not None)}


def others(data: Json, known: frozenset[str]) -> Json:
    """Return the fields of `data` that no document describes, which both versions get."""
    return {name: value for name, value in data.items() if name not in known}
