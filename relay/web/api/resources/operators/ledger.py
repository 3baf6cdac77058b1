"""The ledger: where every event is."""

from __future__ import annotations

from relay.core.access.scopes import Scope
from relay.services import ledger
from relay.web.api.models import Input, Output
from relay.web.api.operation import Call, Tag, operation

TAG = Tag("ledger", "Where every event is, and whether the numbers balance; for operators.")


class Totals(Output):
    """The totals over all webhooks."""

    accepted: int
    duplicate: int
    quarantined: int
    """Bodies ever quarantined."""
    routed: int
    unmatched: int
    inbox: int
    """Accepted events that are not yet routed."""
    poisoned: int
    """Quarantined bodies that had been accepted."""
    quarantine_dropped: int
    lost: int
    """Accepted events that were deleted before they were routed."""
    imbalance: int
    """Events that are not accounted for; 0 if the numbers balance."""


class SubscriptionLedger(Output):
    """The ledger of one subscription."""

    subscription: str
    routed: int
    delivered: int
    waiting: int
    retrying: int
    dead: int
    replayed: int
    filtered: int
    dropped: int
    discarded: int
    repeated: int
    lost: int
    from_history: int
    fault: str
    """The reason why it cannot be read; empty if it can."""
    imbalance: int


class Ledger(Output):
    """The ledger at one moment."""

    balances: bool
    is_exact: bool
    """False if what waits was not counted."""
    totals: Totals
    unmatched: dict[str, int]
    """Events that matched no topic, by type."""
    refused: dict[str, int]
    """Requests that the ingress refused, by code."""
    subscriptions: list[SubscriptionLedger]


class LedgerQuery(Input):
    """The depth of reading the ledger."""

    exact: bool = False
    """Count what waits where Redis's own number is in doubt."""


@operation("GET", "/ledger", tag=TAG, scope=Scope.READ, operators_only=True)
async def get_ledger(call: Call, query: LedgerQuery) -> Ledger:
    """Get the ledger."""
    return Ledger.model_validate(await ledger.read(call.context, call.principal, is_exact=query.exact))


OPERATIONS = (get_ledger,)
