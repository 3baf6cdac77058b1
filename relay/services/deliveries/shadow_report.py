"""The comparison of a shadow with its original, event by event: the attempts logs of both, paired by event id.

`shadow_comparison` pairs them; what one side lacks has a reason, which its lane tells (`shadow_missing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict
from relay.services.access import configured
from relay.services.deliveries.shadow_comparison import compare, has_answers
from relay.services.deliveries.shadow_missing import why_missing
from relay.services.deliveries.subscription_states import State
from relay.services.deliveries.subscriptions import get_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.deliveries.shadow_comparison import Difference

MAX_SHOWN = 200
"""The most differing and missing events that one report lists; all are counted."""


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
    compared = await compare(context.redis, (original, name), since_ms, context.now_ms)
    shown = min(limit, MAX_SHOWN)
    lacking = sorted(compared.lacking, key=lambda each: -each.attempt.at_ms)[:shown]
    reasons = {name: state.sentence} if state.state is not State.DELIVERING else {}
    whys = await why_missing(lacking, reasons)
    missing = (
        Missing(each.attempt.event_id, each.attempt.type, each.attempt.at_ms, each.missing_in, why)
        for each, why in zip(lacking, whys, strict=True)
    )
    return ShadowReport(
        shadow=name,
        original=original,
        since_ms=compared.since_ms,
        compared=len(compared.pairs),
        same=len(compared.pairs) - len(compared.differences),
        same_outcome=sum(first.outcome is second.outcome for first, second in compared.pairs),
        same_status=sum(first.status == second.status for first, second in compared.pairs),
        answers=sum(has_answers(pair) for pair in compared.pairs),
        same_answer=sum(has_answers(pair) and pair[0].answer == pair[1].answer for pair in compared.pairs),
        open=compared.open,
        original_speed=_speed(first.took_ms for first, _ in compared.pairs),
        shadow_speed=_speed(second.took_ms for _, second in compared.pairs),
        differences=tuple(compared.differences[:shown]),
        different=len(compared.differences),
        missing=tuple(missing),
        missing_in_shadow=sum(each.missing_in == name for each in compared.lacking),
        missing_in_original=sum(each.missing_in == original for each in compared.lacking),
        shadow_state=state.sentence,
    )


def _shadows(shadows: Mapping[str, str], original: str) -> list[str]:
    return [name for name, of in shadows.items() if of == original]


def _speed(took: Iterable[int]) -> Speed:
    ordered = sorted(took)
    if not ordered:
        return Speed(None, None)
    return Speed(ordered[len(ordered) // 2], ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)])
