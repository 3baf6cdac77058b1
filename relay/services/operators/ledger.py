"""The ledger: where every event is, and whether the numbers balance; for operators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relay.store.inbox.refusals import refused_counts
from relay.store.lanes.position import lane_names
from relay.store.ledger.ledger import LaneLedger, Ledger, Totals
from relay.store.shadow_marks import shadows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger at one moment."""

    totals: Totals
    unmatched: Mapping[str, int]
    """Events that matched no topic, by type."""
    refused: Mapping[str, int]
    """Requests that the ingress refused, by code."""
    subscriptions: tuple[LaneLedger, ...]
    is_exact: bool
    """False if what a subscription waits for was not counted, but is what makes its ledger balance."""
    is_whole: bool = True
    """False if more subscriptions follow."""

    @property
    def balances(self) -> bool:
        """True if every event is accounted for, as far as the subscriptions were asked for."""
        return self.totals.balances and all(lane.balances for lane in self.subscriptions)


async def read(
    context: Context, principal: Principal, *, is_exact: bool = False, after: str = "", limit: int | None = None
) -> Books:
    """Return the ledger: of `limit` subscriptions (None: all) whose names follow `after`.

    With `is_exact`, events are counted where Redis's own number is in doubt.
    """
    principal.require_operator()
    ledger = Ledger(context.redis)
    names = [name for name in await lane_names(context.redis) if name > after]
    shown = names if limit is None else names[:limit]
    totals, unmatched, refused = await ledger.totals(), await ledger.unmatched(), await refused_counts(context.redis)
    states = await ledger.states(count_timeout=None if is_exact else 0, lanes=shown)
    shadows = await shadows_of(context.redis, await context.rules.known())
    lanes = tuple(replace(state.ledger, shadow_of=shadows.get(state.ledger.subscription)) for state in states)
    is_whole = len(shown) == len(names)
    return Books(totals, unmatched, refused, lanes, all(state.is_exact for state in states), is_whole)
