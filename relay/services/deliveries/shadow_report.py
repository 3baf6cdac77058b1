"""The comparison of a shadow with its original, event by event: the attempts logs of both, paired by event id.

An event is compared once both have a last attempt of it. The logs are bounded, so only the time that both reach back to
is compared: events before it are not missing. What one side lacks within it has a reason, which the lane tells.
Replays and tests are left out, since only one side gets them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict
from relay.core.event_filter import EventFilter
from relay.services.access import configured
from relay.services.deliveries.shadow_missing import why_missing
from relay.services.deliveries.subscription_states import State
from relay.services.deliveries.subscriptions import get_state
from relay.store.lanes.attempts.log import attempts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.access.principal import Principal
    from relay.core.delivery.outcome import Outcome
    from relay.services.context import Context
    from relay.store.lanes.attempts.log import FoundAttempt

MAX_SHOWN = 200
"""The most differing and missing events that one report lists; all are counted."""

_LAG_MS = 10_000
"""Time that one side may be behind: an event that only the other one has had for less than this is not missing."""
_YIELD = 2000  # attempts read before other tasks get their turn


class Side(NamedTuple):
    """The result of an event in one subscription."""

    outcome: Outcome
    status: int | None
    took_ms: int
    """Duration of the last attempt."""
    attempts: int
    dead: str | None
    """The reason why it is a dead letter; None if it is not."""
    answer: str | None
    """The start of the answer and its digest; None if none was kept."""
    at_ms: int
    """Start of the last attempt, Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An event that the two answered differently."""

    event: str
    type: str
    at_ms: int
    """Start of the original's last attempt, Unix milliseconds."""
    differs: tuple[str, ...]
    """`outcome`, `status` or `answer`."""
    original: Side
    shadow: Side


@dataclass(frozen=True, slots=True)
class Missing:
    """An event that only one of the two has an attempt of."""

    event: str
    type: str
    at_ms: int
    """Start of the other one's last attempt, Unix milliseconds."""
    missing_in: str
    """The subscription that has none."""
    why: str


class Speed(NamedTuple):
    """The durations of the compared attempts of one side, milliseconds; None without any."""

    p50_ms: int | None
    p99_ms: int | None


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """A shadow compared with its original."""

    shadow: str
    original: str
    since_ms: int | None
    """The start of what is compared, Unix milliseconds: as far as both logs reach; None if one has nothing."""
    compared: int
    """Events that both have answered."""
    same: int
    """The number with the same outcome, the same status, and the same answer where both were kept."""
    same_outcome: int
    same_status: int
    answers: int
    """Events of which both answers were kept."""
    same_answer: int
    open: int
    """Events that one side still retries."""
    original_speed: Speed
    shadow_speed: Speed
    differences: tuple[Difference, ...]
    """The newest first, as many as were asked for."""
    different: int
    """The number of all of them."""
    missing: tuple[Missing, ...]
    """The newest first, as many as were asked for."""
    missing_in_shadow: int
    missing_in_original: int
    shadow_state: str
    """The shadow's state, with its reason."""

    @property
    def agreement(self) -> float | None:
        """The share of the compared events that are the same; None without any."""
        return self.same / self.compared if self.compared else None


@dataclass(slots=True)
class _Seen:
    """The latest attempt of an event, and how many there were."""

    found: FoundAttempt
    attempts: int = 1


class _Log(NamedTuple):
    """The attempts log of one side."""

    events: Mapping[str, _Seen]
    oldest_ms: int | None
    """Start of its oldest attempt, Unix milliseconds."""


async def report(
    context: Context, principal: Principal, name: str, since_ms: float | None = None, limit: int = 20
) -> ShadowReport:
    """Compare a shadow with its original, at most since a time, Unix milliseconds.

    Raises:
        NotFound: there is no subscription of that name.
        Conflict: it is no shadow.
    """
    principal.require(Scope.READ)
    config = await context.config()
    shadow = configured(config, principal, name)
    if shadow.shadow_of is None:
        hint = f"; its shadows: {', '.join(found)}" if (found := _shadows(config.shadows, name)) else ""
        raise Conflict(f"{name} shadows no other subscription{hint}")
    original, state = shadow.shadow_of, await get_state(context, principal, name)
    logs = await _read(context, original, since_ms), await _read(context, name, since_ms)
    compared = _compare(logs, context.now_ms)
    shown = min(limit, MAX_SHOWN)
    lacking = compared.missing(original, name)[:shown]
    reasons = {name: state.sentence} if state.state is not State.DELIVERING else {}
    whys = await why_missing(context.redis, [(found.attempt, where) for found, where in lacking], reasons)
    missing = (
        Missing(found.attempt.event_id, found.attempt.type, found.attempt.at_ms, where, why)
        for (found, where), why in zip(lacking, whys, strict=True)
    )
    return ShadowReport(
        shadow=name,
        original=original,
        since_ms=compared.since_ms,
        compared=len(compared.pairs),
        same=len(compared.pairs) - len(compared.differences),
        same_outcome=sum(first.outcome is second.outcome for first, second in compared.pairs),
        same_status=sum(first.status == second.status for first, second in compared.pairs),
        answers=sum(_has_answers(pair) for pair in compared.pairs),
        same_answer=sum(_has_answers(pair) and pair[0].answer == pair[1].answer for pair in compared.pairs),
        open=compared.open,
        original_speed=_speed(first.took_ms for first, _ in compared.pairs),
        shadow_speed=_speed(second.took_ms for _, second in compared.pairs),
        differences=tuple(compared.differences[:shown]),
        different=len(compared.differences),
        missing=tuple(missing),
        missing_in_shadow=len(compared.only_original),
        missing_in_original=len(compared.only_shadow),
        shadow_state=state.sentence,
    )


def _shadows(shadows: Mapping[str, str], original: str) -> list[str]:
    return [name for name, of in shadows.items() if of == original]


async def _read(context: Context, name: str, since_ms: float | None) -> _Log:
    """Read the attempts of a subscription, without replays and tests."""
    events: dict[str, _Seen] = {}
    oldest: int | None = None
    number = 0
    async for found in attempts_of(context.redis, name, EventFilter(since_ms=since_ms), with_answers=True):
        number += 1
        if number % _YIELD == 0:
            await asyncio.sleep(0)
        attempt = found.attempt
        if not found.counted or attempt.is_replay:
            continue
        oldest = attempt.at_ms if oldest is None else min(oldest, attempt.at_ms)
        if attempt.event_id in events:
            events[attempt.event_id].attempts += 1
        else:
            events[attempt.event_id] = _Seen(found)
    return _Log(events, oldest)


@dataclass(slots=True)
class _Compared:
    """Both logs, paired."""

    since_ms: int | None
    pairs: list[tuple[Side, Side]]
    differences: list[Difference]
    open: int
    only_original: list[FoundAttempt]
    only_shadow: list[FoundAttempt]

    def missing(self, original: str, shadow: str) -> list[tuple[FoundAttempt, str]]:
        """Return what either side lacks, with the name of that side, the newest first."""
        lacking = [(found, shadow) for found in self.only_original] + [(found, original) for found in self.only_shadow]
        return sorted(lacking, key=lambda each: -each[0].attempt.at_ms)


def _compare(logs: tuple[_Log, _Log], now_ms: int) -> _Compared:
    first, second = logs
    starts = [log.oldest_ms for log in logs if log.oldest_ms is not None]
    compared = _Compared(max(starts) if len(starts) == len(logs) else None, [], [], 0, [], [])
    for event_id, seen in first.events.items():
        if (twin := second.events.get(event_id)) is None:
            if _is_due(seen, compared.since_ms, now_ms):
                compared.only_original.append(seen.found)
        elif _is_open(seen) or _is_open(twin):
            compared.open += 1
        else:
            pair = _side(seen), _side(twin)
            compared.pairs.append(pair)
            if differs := _differs(*pair):
                attempt = seen.found.attempt
                compared.differences.append(Difference(event_id, attempt.type, attempt.at_ms, differs, *pair))
    compared.only_shadow += [
        seen.found
        for event_id, seen in second.events.items()
        if event_id not in first.events and _is_due(seen, compared.since_ms, now_ms)
    ]
    compared.differences.sort(key=lambda each: -each.at_ms)
    return compared


def _is_due(seen: _Seen, since_ms: int | None, now_ms: int) -> bool:
    """Return True if the other side should have the event too."""
    at_ms = seen.found.attempt.at_ms
    return since_ms is not None and since_ms <= at_ms <= now_ms - _LAG_MS


def _is_open(seen: _Seen) -> bool:
    return seen.found.attempt.due_ms is not None


def _side(seen: _Seen) -> Side:
    attempt = seen.found.attempt
    return Side(
        attempt.outcome,
        attempt.status,
        attempt.took_ms,
        seen.attempts,
        attempt.dead,
        seen.found.detail or None,
        attempt.at_ms,
    )


def _has_answers(pair: tuple[Side, Side]) -> bool:
    """Return True if both answered, and what they answered was kept."""
    return all(side.answer is not None and side.status is not None for side in pair)


def _differs(first: Side, second: Side) -> tuple[str, ...]:
    found = {
        "outcome": first.outcome is not second.outcome,
        "status": first.status != second.status,
        "answer": _has_answers((first, second)) and first.answer != second.answer,
    }
    return tuple(name for name, is_different in found.items() if is_different)


def _speed(took: Iterable[int]) -> Speed:
    ordered = sorted(took)
    if not ordered:
        return Speed(None, None)
    return Speed(ordered[len(ordered) // 2], ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)])
