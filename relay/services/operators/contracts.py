"""Contracts with Linq: facts that the relay reads from each event type and version, and changes; for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.contracts.facts import FACTS
from relay.contracts.learning import LOST, Share
from relay.contracts.shapes import differences, shape_of
from relay.core.access.scopes import Scope
from relay.core.errors import Hint, NotFound
from relay.store.contracts.contracts import Contracts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.contracts.learning import Contract
    from relay.core.access.principal import Principal
    from relay.core.event import Dialect
    from relay.services.context import Context
    from relay.store.contracts.contracts import Change
    from relay.store.contracts.record import Sample, Samples


@dataclass(frozen=True, slots=True)
class ContractChange:
    """A change that no operator has accepted."""

    what: str
    """`new_type`, `new_version`, or `lost_` and a fact."""
    at_ms: int
    """Unix milliseconds at which it was noticed."""


@dataclass(frozen=True, slots=True)
class ContractState:
    """Knowledge of an event type in a payload version."""

    type: str
    version: str
    api: Dialect
    """Webhook API of Linq that has this version."""
    first_ms: int
    """Unix milliseconds of its first event."""
    last_ms: int
    events: int
    facts: Mapping[str, float]
    """The share of its events with each fact."""
    changes: tuple[ContractChange, ...]


@dataclass(frozen=True, slots=True)
class ContractDetails:
    """Knowledge of a pair, with its redacted samples."""

    state: ContractState
    usual: Sample | None
    changed: Sample | None
    """The payload of an event that lacked what was lost."""
    differences: tuple[str, ...]
    """The differences between them."""


async def list_contracts(context: Context, principal: Principal, api: Dialect | None = None) -> list[ContractState]:
    """Return what was learned, by type and version; with `api`, of one API of Linq."""
    principal.require_operator()
    return [_state(contract) for contract in await Contracts(context.redis).all() if api in {None, contract.pair.api}]


async def get_contracts(
    context: Context, principal: Principal, event_type: str, api: Dialect | None = None
) -> list[ContractDetails]:
    """Return what was learned of an event type, by version; with `api`, of one API of Linq.

    Raises:
        NotFound: there was no event of that type.
    """
    principal.require_operator()
    store = Contracts(context.redis)
    found = await _of_type(store, event_type, api)
    samples = await store.samples(contract.pair for contract in found)
    return [_details(contract, samples[contract.pair]) for contract in found]


async def accept_changes(
    context: Context, principal: Principal, event_type: str, why: str = "", api: Dialect | None = None
) -> Sequence[Change]:
    """Accept the changes of an event type, in every version or those of one API, as known; return them.

    Raises:
        NotFound: there was no event of that type.
    """
    principal.require_operator(Scope.ADMIN)
    store = Contracts(context.redis)
    found = await _of_type(store, event_type, api)
    count = sum(len(contract.changes) for contract in found)
    if not count:
        return []
    target = event_type if api is None else f"{event_type} ({api})"
    await context.record(principal, "contracts accept", target, count, why)
    return await store.accept({contract.pair for contract in found})


async def _of_type(store: Contracts, event_type: str, api: Dialect | None) -> list[Contract]:
    found = [each for each in await store.all() if each.pair.type == event_type and api in {None, each.pair.api}]
    if not found:
        of_api = "" if api is None else f" of Linq's {api} API"
        raise NotFound(
            f'no event of the type "{event_type}"{of_api} was seen',
            hint=Hint("relay contracts list shows those that were", "GET /contracts lists those that were"),
        )
    return found


def _state(contract: Contract) -> ContractState:
    return ContractState(
        type=contract.pair.type,
        version=contract.pair.version,
        api=contract.pair.api,
        first_ms=contract.first_ms,
        last_ms=contract.last_ms,
        events=contract.events,
        facts={fact: _share(contract.shares.get(fact, Share()), fact in contract.lost) for fact in FACTS},
        changes=tuple(ContractChange(what, at_ms) for what, at_ms in sorted(contract.changes.items())),
    )


def _share(share: Share, is_lost: bool) -> float:  # noqa: FBT001  one of two meanings
    """Return the share of the events with a fact; of a lost one that of the newest."""
    events, having = share.new_events, share.new_having
    if not is_lost:
        events, having = events + share.events, having + share.having
    return round(having / events, 4) if events else 0.0


def _details(contract: Contract, samples: Samples) -> ContractDetails:
    usual, changed = samples
    found: tuple[str, ...] = ()
    if usual and changed and any(what.startswith(LOST) for what in contract.changes):
        found = tuple(map(str, differences(shape_of(usual.payload), shape_of(changed.payload))))
    return ContractDetails(_state(contract), usual, changed if contract.lost else None, found)
