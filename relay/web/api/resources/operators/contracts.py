"""Contracts with Linq: which facts the relay reads from each event type and payload version, and what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.event import Dialect
from relay.services.operators import contracts
from relay.web.api.models import Input, Moment, Output, Page, Paging, Reason, part_of
from relay.web.api.operation import Call, Tag, operation

if TYPE_CHECKING:
    from relay.services.operators.contracts import ContractDetails
    from relay.store.contracts.record import Sample

TAG = Tag("contracts", "What the relay can read from each event type and payload version; for operators.")

What = Literal["new_type", "new_version", "lost_line", "lost_chat", "lost_message", "lost_direction", "lost_service"]


class TypePath(Input):
    """The path of an event type."""

    type: Annotated[str, Field(min_length=1, max_length=256, examples=["message.received"])]


class OfApi(Input):
    """The webhook API of Linq that is asked for."""

    api: Dialect | None = None
    """Only payloads of `v3`, or of `v2`; absent: of both."""


class ContractsQuery(OfApi, Paging):
    """The contracts that are asked for."""


class ContractChange(Output):
    """A change that no operator has accepted."""

    what: What
    """`new_type`, `new_version`, or a fact that its events had and do not have any more."""
    at: Moment = Field(validation_alias="at_ms")
    """When it was noticed."""


class Contract(Output):
    """Knowledge of an event type in a payload version."""

    type: str
    """The event type."""
    version: str
    """The form of the payload: `2026-02-03`, `2025-01-01`, or `v2`."""
    api: Dialect
    """The webhook API of Linq that has it: `v3` or `v2`."""
    first_event: Moment = Field(validation_alias="first_ms")
    """When its first event came."""
    last_event: Moment = Field(validation_alias="last_ms")
    """When its last event came."""
    events: int
    """The number of its events."""
    facts: dict[str, float]
    """The share of its events with each fact: `line`, `chat`, `message`, `direction`, `service`."""
    changes: list[ContractChange]
    """Changes that no operator has accepted."""


class RedactedSample(Output):
    """A payload without its content: strings are replaced by their kind."""

    at: Moment = Field(validation_alias="at_ms")
    """When it was kept."""
    payload: dict[str, Any]
    """The payload, such as `{"data": {"chat": {"id": "<uuid>"}}}`."""


class ContractInFull(Contract):
    """Knowledge of an event type in a payload version, with redacted samples."""

    usual: RedactedSample | None
    """A usual payload; null if none was kept."""
    changed: RedactedSample | None
    """A payload that lacks what was lost; null if nothing is lost."""
    differences: list[str]
    """The differences between the two."""


class AcceptedChanges(Output):
    """The changes that are known now."""

    accepted: int
    """Their number."""


@operation("GET", "/contracts", tag=TAG, scope=Scope.READ, operators_only=True)
async def list_contracts(call: Call, query: ContractsQuery) -> Page[Contract]:
    """List what was learned of each event type and payload version."""
    found = await contracts.list_contracts(call.context, call.principal, query.api)
    return part_of(found, query, Contract, lambda state: f"{state.type} {state.version}")


@operation("GET", "/contracts/{type}", tag=TAG, scope=Scope.READ, operators_only=True)
async def get_contract(call: Call, path: TypePath, query: OfApi) -> list[ContractInFull]:
    """Get what was learned of an event type in each payload version, with redacted samples."""
    found = await contracts.get_contracts(call.context, call.principal, path.type, query.api)
    return [_in_full(each) for each in found]


@operation("POST", "/contracts/{type}/accept", tag=TAG, scope=Scope.ADMIN, operators_only=True)
async def accept_contract(call: Call, path: TypePath, query: OfApi, body: Reason) -> AcceptedChanges:
    """Accept the changes of an event type as known; what was lost is learned again."""
    accepted = await contracts.accept_changes(call.context, call.principal, path.type, body.why, query.api)
    return AcceptedChanges(accepted=len(accepted))


def _in_full(details: ContractDetails) -> ContractInFull:
    state = details.state
    fields = {
        name: getattr(state, name) for name in ("type", "version", "api", "first_ms", "last_ms", "events", "facts")
    }
    samples = {"usual": _sample(details.usual), "changed": _sample(details.changed)}
    changes = [ContractChange.model_validate(change) for change in state.changes]
    return ContractInFull.model_validate(
        {**fields, **samples, "changes": changes, "differences": list(details.differences)}
    )


def _sample(sample: Sample | None) -> RedactedSample | None:
    if sample is None or not isinstance(sample.payload, dict):
        return None
    return RedactedSample.model_validate(sample)


OPERATIONS = (list_contracts, get_contract, accept_contract)
