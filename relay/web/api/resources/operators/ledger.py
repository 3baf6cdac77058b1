"""The ledger: where every event is."""

from __future__ import annotations

from relay.core.access.scopes import Scope
from relay.services.operators import ledger
from relay.web.api.models import Output, Paging, cursor_after, key_after
from relay.web.api.operation import Call, Tag, operation

TAG = Tag("ledger", "Where every event is, and whether the numbers balance; for operators.")


class Totals(Output):
    """The totals over all webhooks."""

    accepted: int
    """Events that were accepted, each once."""
    duplicate: int
    """Webhooks of an event that was accepted before."""
    quarantined: int
    """Bodies ever quarantined."""
    routed: int
    """Events that matched a topic."""
    unmatched: int
    """Events that matched no topic."""
    inbox: int
    """Accepted events that are not yet routed."""
    poisoned: int
    """Quarantined bodies that had been accepted."""
    quarantine_dropped: int
    """Quarantined bodies that were dropped."""
    lost: int
    """Accepted events that were deleted before they were routed."""
    imbalance: int
    """Events that are not accounted for; 0 if the numbers balance."""


class SubscriptionLedger(Output):
    """The ledger of one subscription."""

    subscription: str
    routed: int
    """Events of its topic, since it began."""
    delivered: int
    """Events that it accepted."""
    waiting: int
    """Events without a finished attempt."""
    retrying: int
    """Events that wait for their next attempt."""
    dead: int
    """Dead letters."""
    replayed: int
    """Deliveries that were ever sent again; not part of the sum."""
    filtered: int
    """Events that its filter excludes."""
    dropped: int
    """Dead letters that were dropped."""
    discarded: int
    """Dead letters that were deleted beyond the bounds of the subscription."""
    repeated: int
    """Events that it was given again, since something of its state in Redis was deleted."""
    lost: int
    """Events that were deleted before they were delivered."""
    from_history: int
    """Events that were sent again from a topic's history, and tests."""
    shadow_of: str | None
    """The subscription that it shadows; null if it is no shadow."""
    fault: str
    """The reason why it cannot be read; empty if it can."""
    imbalance: int
    """Events that are not accounted for; 0 if the numbers balance."""


class Ledger(Output):
    """The ledger at one moment."""

    balances: bool
    """True if every event is accounted for, by the totals and by the subscriptions of this page."""
    is_exact: bool
    """False if what waits was not counted."""
    totals: Totals
    """The numbers of the relay."""
    unmatched: dict[str, int]
    """Events that matched no topic, by type."""
    refused: dict[str, int]
    """Requests that the ingress refused, by code."""
    subscriptions: list[SubscriptionLedger]
    """The numbers of push subscriptions, by name."""
    next: str | None
    """The `cursor` of the next page of subscriptions; null on the last."""


class LedgerQuery(Paging):
    """The subscriptions of the ledger, and the depth of reading."""

    exact: bool = False
    """Count what waits where Redis's own number is in doubt."""


@operation("GET", "/ledger", tag=TAG, scope=Scope.READ, operators_only=True)
async def get_ledger(call: Call, query: LedgerQuery) -> Ledger:
    """Get the ledger, with a page of subscriptions."""
    after = key_after(query)
    books = await ledger.read(call.context, call.principal, is_exact=query.exact, after=after, limit=query.limit)
    return Ledger(
        balances=books.balances,
        is_exact=books.is_exact,
        totals=Totals.model_validate(books.totals),
        unmatched=dict(books.unmatched),
        refused=dict(books.refused),
        subscriptions=[SubscriptionLedger.model_validate(lane) for lane in books.subscriptions],
        next=None if books.is_whole else cursor_after(books.subscriptions[-1].subscription),
    )


OPERATIONS = (get_ledger,)
