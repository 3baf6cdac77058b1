"""`where` of a topic: an expression in JMESPath on the whole body, which is bounded.

The library is imported when the first expression is compiled: a relay without `where` does without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    from relay.core.conditions import bounded
else:
    bounded = LazyModule("relay.core.conditions.bounded")

MAX_LENGTH = 1024
"""Characters of an expression."""


class Undecided(Exception):
    """An expression that has no result for an event."""


def compiled(text: str) -> bounded.Program:
    """Return the program of an expression.

    Raises:
        ValueError: it is not one, or uses what is not available; says where.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the expression has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    return bounded.Program(text)


def checked_expression(text: str) -> str:
    """Return `text` if it is an expression that can be used.

    Raises:
        ValueError: it is not.
    """
    compiled(text)
    return text


def holds(program: bounded.Program, body: Any) -> bool:
    """Return the result for a body; null, which JMESPath yields for what is missing, is false.

    Raises:
        Undecided: there is none, and why.
    """
    result = program.result(body)
    if result is None or isinstance(result, bool):
        return result is True
    raise Undecided(f"it yields {_NAMES.get(type(result), 'no value')}, not true or false")


_NAMES: dict[type, str] = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
