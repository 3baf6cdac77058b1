"""Shadow subscriptions: what they take of the one that they shadow, and the mistakes in it.

A shadow gets the same deliveries as its original, so it has the original's topic, filters and team, and says none of
them itself. Works on raw tables, so that the mistakes are also found in a file with others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.durations import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from relay.core.config.relay_toml import Subscription

Row = dict[str, Any]
Mistake = tuple[str, str]
"""A key of the table, and the mistake in it."""

FILTERS = ("events", "lines", "freshness", "api")
"""The keys that narrow a topic, which a shadow takes from its original."""

_TAKEN = ("topic", *FILTERS, "team")
_DEFAULTS = ("ordered", "shape")
"""Keys that a shadow takes unless it has them itself."""

SHADOW_DEFAULTS: Row = {"retry": ["5s", "30s"], "max_age": "1h", "dead": {"keep": "24h", "size": "16MiB"}}
"""The keys of a shadow that says nothing else."""

_MAX_RETRIES = 5
_MAX_AGE = parse_duration("24h")


def is_shadow(row: Mapping[str, Any]) -> bool:
    """Return True if the table says that it shadows another."""
    return row.get("shadow_of") is not None


def by_name(rows: Iterable[Row]) -> dict[str, Row]:
    """Return the tables by their names; of two of one name the first."""
    found: dict[str, Row] = {}
    for row in rows:
        if isinstance(name := row.get("name"), str):
            found.setdefault(name, row)
    return found


def row_of(subscription: Subscription) -> Row:
    """Return the keys of a subscription that its shadows look at, as its table has them."""
    keys = ("name", "shadow_of", *_TAKEN, *_DEFAULTS)
    return {key: value for key in keys if (value := getattr(subscription, key, None)) is not None}


def completed(row: Row, originals: Mapping[str, Row]) -> Row:
    """Return the table of a subscription, of a shadow with what it takes from its original.

    Without an original the topic is empty: that mistake has its own message.
    """
    if not is_shadow(row):
        return row
    original = _original(row, originals) or {}
    taken = {key: original[key] for key in (*_TAKEN, *_DEFAULTS) if key in original}
    return {"topic": ""} | taken | row


def shadow_mistakes(row: Row, originals: Mapping[str, Row]) -> Iterator[Mistake]:
    """Yield what contradicts its original in the table of a shadow; nothing for other subscriptions."""
    name = row.get("shadow_of")
    if not isinstance(name, str):
        return
    original = _original(row, originals)
    if name == row.get("name"):
        yield "shadow_of", f'"{name}" cannot shadow itself; name the subscription whose deliveries it gets too'
    elif original is None or not _may_shadow(row, original):
        yield "shadow_of", _unknown(name, row, originals)
    elif is_shadow(original):
        yield (
            "shadow_of",
            f'"{name}" is itself a shadow, of "{original["shadow_of"]}"; write shadow_of = "{original["shadow_of"]}"',
        )
    else:
        for key in (*_TAKEN, *_DEFAULTS):
            if key in _TAKEN and key in row and not _is_same(row[key], original.get(key)):
                has = f"{original[key]!r}" if key in original else "none"
                yield key, f'a shadow has the {key} of its original ("{name}" has {has}); remove "{key}"'


def with_shadows(data: Row) -> Row:
    """Return the data of a file, with what its shadows take from their originals."""
    rows = data.get("subscriptions")
    tables = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not isinstance(rows, list) or not any(map(is_shadow, tables)):
        return data
    originals = by_name(tables)
    return data | {"subscriptions": [completed(row, originals) if isinstance(row, dict) else row for row in rows]}


def shadow_problem(subscription: Subscription) -> str | None:
    """Return the mistake in the keys of a subscription that is a shadow, or only seems to be one; None for none."""
    if subscription.shadow_of is None:
        needs = '"compare" needs "shadow_of"; write it in the table of the shadow'
        return None if subscription.compare is None else needs
    if subscription.block_on_dead:
        return 'a shadow blocks nothing; remove "block_on_dead"'
    if len(subscription.retry) > _MAX_RETRIES:
        return f'a shadow has at most {_MAX_RETRIES} waits in "retry"; shorten the list'
    if subscription.max_age is None or subscription.max_age > _MAX_AGE:
        return f'"max_age" of a shadow is at most "{format_duration(_MAX_AGE)}"; lower it'
    return None


def _original(row: Row, originals: Mapping[str, Row]) -> Row | None:
    name = row.get("shadow_of")
    return originals.get(name) if isinstance(name, str) else None


def _may_shadow(row: Row, original: Row) -> bool:
    """Return True if a team shadows its own; a table without a team takes that of its original."""
    return row.get("team") is None or row["team"] == original.get("team")


def _unknown(name: str, row: Row, originals: Mapping[str, Row]) -> str:
    """Return the mistake; a team gets the same one for a subscription that it may not see."""
    known = [
        each
        for each, other in originals.items()
        if not is_shadow(other) and each != row.get("name") and _may_shadow(row, other)
    ]
    of_team = "" if row.get("team") is None else f' of the team "{row["team"]}"'
    listed = ", ".join(known[:20]) or "none"
    return f'there is no subscription "{name}"{of_team} to shadow (subscriptions: {listed})'


def _is_same(value: Any, other: Any) -> bool:
    def plain(given: Any) -> Any:
        return sorted(map(str, given)) if isinstance(given, list | tuple) else given

    return bool(plain(value) == plain(other))
