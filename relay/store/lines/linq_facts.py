"""Facts that Linq reports about each line: by its list of phone numbers, and by events about a line.

The check of Linq (every five minutes) records the list, the router the events as they pass. Of a status or reputation
that both tell, the newer one counts. A list may be incomplete (`bootstrap.deletions`), so a line that is missing counts
as gone only after three lists in a row, or at once if Linq said so by an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from relay.store.driver.client import ask
from relay.store.lines.line_keys import LineKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from relay.linq.api.v3 import ListedLine
    from relay.linq.payloads.line_changes import LineChange
    from relay.store.driver.client import Redis

MISSING_LISTS = 3
"""Lists in a row without a line after which it counts as gone."""

_LIFETIME_MS = 90 * 86_400_000  # after the last list that had the line
_MAX_UNLISTED = 1000  # lines that only events have named


class _Listed(BaseModel):
    """The value of `<line>:listed`."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    at_ms: int
    """Time of the last list that had it."""
    kind: str | None = None
    reputation: str | None = None
    account: str | None = None
    missing: int = 0
    """Number of lists since then."""


class _Told(BaseModel):
    """The value of `<line>:told`."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    status: str | None = None
    status_at_ms: int = 0
    reputation: str | None = None
    reputation_at_ms: int = 0
    is_released: bool | None = None
    released_at_ms: int = 0


class LinqFacts(NamedTuple):
    """Facts that Linq reports of a line; None for a fact that it has not reported."""

    account: str | None = None
    """The name of its account, where several are configured."""
    kind: str | None = None
    """`iMessage` or `RCS`."""
    status: str | None = None
    """`ACTIVE` or `FLAGGED`; only events tell it."""
    status_ms: int | None = None
    reputation: str | None = None
    """`HEALTHY`, `AT_RISK` or `CRITICAL`."""
    listed_ms: int | None = None
    """The time of the last list that had it."""
    released_ms: int | None = None
    """The time at which Linq took it from the account, or since which no list has it; None if it is there."""

    @property
    def is_flagged(self) -> bool:
        """True if Linq has flagged the line, or its messages hardly arrive."""
        return self.released_ms is None and (self.status == "FLAGGED" or self.reputation == "CRITICAL")


async def record_list(redis: Redis, lines: Sequence[ListedLine], now_ms: int, account: str | None = None) -> None:
    """Record the lines that Linq lists for an account; only one process does that at a time."""
    rows = await _read(redis)
    fields = {
        f"{each.line}:listed": _Listed(
            at_ms=now_ms, kind=each.kind, reputation=each.reputation, account=account
        ).model_dump_json()
        for each in lines
    }
    forgotten = []
    for line, (listed, told) in rows.items():
        if f"{line}:listed" in fields or (listed and listed.account != account):
            continue
        newest = max(listed.at_ms if listed else 0, *_times(told))
        if newest < now_ms - _LIFETIME_MS:
            forgotten += [f"{line}:listed", f"{line}:told"]
        elif listed:
            fields[f"{line}:listed"] = listed.model_copy(update={"missing": listed.missing + 1}).model_dump_json()
    if fields:
        await ask(redis.hset(LineKeys(redis).facts, mapping=fields))
    if forgotten:
        await ask(redis.hdel(LineKeys(redis).facts, *forgotten))


async def record_changes(redis: Redis, changes: Sequence[LineChange]) -> None:
    """Record what events tell; an older event changes nothing. Only the router calls it.

    Of lines that no list has, only so many are recorded: an event can name any number. Facts that an account reports
    about a line of another account do not count.
    """
    rows = await _read(redis)
    fields: dict[str, str] = {}
    unlisted = sum(listed is None for listed, _ in rows.values())
    for change in changes:
        if change.line not in rows:
            if unlisted >= _MAX_UNLISTED:
                continue
            unlisted += 1
        listed = rows.get(change.line, (None, None))[0]
        if listed and listed.account != change.account:
            continue
        told = rows.get(change.line, (None, None))[1] or _Told()
        told = told.model_copy(update=dict(_newer(told, change)))
        rows[change.line] = rows.get(change.line, (None, None))[0], told
        fields[f"{change.line}:told"] = told.model_dump_json()
    if fields:
        await ask(redis.hset(LineKeys(redis).facts, mapping=fields))


async def read_facts(redis: Redis) -> dict[str, LinqFacts]:
    """Return what Linq reports about each line."""
    return {line: _facts(listed, told or _Told()) for line, (listed, told) in (await _read(redis)).items()}


async def accounts_in_lists(redis: Redis) -> dict[str, str | None]:
    """Return the account of each line that Linq lists."""
    rows = await _read(redis)
    return {line: listed.account for line, (listed, _) in rows.items() if listed and listed.missing < MISSING_LISTS}


def _newer(told: _Told, change: LineChange) -> Collection[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value, at in (
        ("status", change.status, told.status_at_ms),
        ("reputation", change.reputation, told.reputation_at_ms),
        ("is_released", change.is_released, told.released_at_ms),
    ):
        if value is not None and change.at_ms >= at:
            found += [(name, value), (f"{name.removeprefix('is_')}_at_ms", change.at_ms)]
    return found


def _facts(listed: _Listed | None, told: _Told) -> LinqFacts:
    at = listed.at_ms if listed else 0
    is_newer_told = told.reputation is not None and told.reputation_at_ms > at
    released = None
    if told.is_released and not (listed and not listed.missing and at > told.released_at_ms):
        released = told.released_at_ms
    elif listed and listed.missing >= MISSING_LISTS and not (told.is_released is False and told.released_at_ms > at):
        released = at
    return LinqFacts(
        account=listed.account if listed else None,
        kind=listed.kind if listed else None,
        status=told.status,
        status_ms=told.status_at_ms or None,
        reputation=told.reputation if is_newer_told or not listed else listed.reputation,
        listed_ms=at or None,
        released_ms=released,
    )


def _times(told: _Told | None) -> tuple[int, ...]:
    return (told.status_at_ms, told.reputation_at_ms, told.released_at_ms) if told else (0,)


async def _read(redis: Redis) -> dict[str, tuple[_Listed | None, _Told | None]]:
    rows: dict[bytes, bytes] = await ask(redis.hgetall(LineKeys(redis).facts))
    found: dict[str, tuple[_Listed | None, _Told | None]] = {}
    for name, value in rows.items():
        line, _, kind = name.decode(errors="replace").rpartition(":")
        listed, told = found.get(line, (None, None))
        try:
            if kind == "listed":
                found[line] = _Listed.model_validate_json(value), told
            elif kind == "told":
                found[line] = listed, _Told.model_validate_json(value)
        except ValidationError:  # another client has written it; the next list or event replaces it
            continue
    return found
