"""Actions of the control API and of the page: send events, inject faults, change the lines of the account.

An action returns what happened, and raises `ApiError` if it cannot be done.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from relay.core.config.checks.mistakes import JSON, message_of
from relay.core.config.fields import Line
from relay.sandbox.api.v3_errors import ApiError, invalid, malformed
from relay.sandbox.events import account_changes
from relay.sandbox.events.emit import Emission, Emissions
from relay.sandbox.faults.models import FAULT_KINDS, Disable
from relay.sandbox.outage import Outage, messages_of
from relay.sandbox.payloads import known_types
from relay.sandbox.payloads.v2 import v2_types
from relay.sandbox.state import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.faults.models import Fault
    from relay.sandbox.history import History
    from relay.sandbox.state import SandboxState

_T = TypeVar("_T")


class NewLine(BaseModel):
    """A line to add: the body of `POST /sandbox/lines`."""

    model_config = ConfigDict(extra="forbid")

    line: Line


class LineStatus(BaseModel):
    """New status of a line: the body of `PUT /sandbox/lines/{line}`."""

    model_config = ConfigDict(extra="forbid")

    flagged: bool


EMISSIONS = TypeAdapter(Emissions)
NEW_LINE = TypeAdapter(NewLine)
LINE_STATUS = TypeAdapter(LineStatus)
OUTAGE = TypeAdapter(Outage)


class Actions:
    """Actions on one sandbox."""

    def __init__(self, state: SandboxState, emit: Callable[[Emission], tuple[str, int]], history: History) -> None:
        self._state = state
        self._history = history
        self._emit = emit

    def emit(self, emission: Emissions) -> dict[str, Any]:
        """Send events to the subscriptions that match them."""
        if emission.line is not None and emission.line not in self._state.lines:
            raise invalid(
                f"line: {emission.line} is not a line of this sandbox; its lines: {', '.join(self._state.lines)}"
            )
        try:
            emitted = [self._emit(emission) for _ in range(emission.count)]
        except KeyError:
            known = ", ".join(v2_types() if emission.api == "v2" else known_types())
            field = '"body"' if emission.api == "v2" else '"data"'
            raise invalid(f"type: no built-in payload for {emission.type}; add {field}, or use: {known}") from None
        ids = [event_id for event_id, _ in emitted]
        return {"event_id": ids[0], "event_ids": ids, "subscriptions": emitted[0][1]}

    def make_outage(self, outage: Outage) -> dict[str, Any]:
        """Add the messages of an outage to their chats, without a webhook for any."""
        for event_type, scenario in messages_of(outage, self._state.lines):
            self._history.record(event_type, scenario)
        return {"messages": outage.messages, "kept": self._history.messages}

    def add_fault(self, fault: Fault | Disable) -> dict[str, Any]:
        """Activate a fault, or disable subscriptions as Linq does."""
        if not isinstance(fault, Disable):
            return self._state.faults.add(fault).as_json()
        disabled = self._state.disable(fault.subscription_id, fault.line)
        if not disabled:
            raise invalid(
                f"subscription_id: no subscription {fault.subscription_id}"
                if fault.subscription_id
                else f"line: no subscription filters by {fault.line}"
            )
        for subscription in disabled:
            if isinstance(subscription, Subscription):
                self._emit(account_changes.disabled_by_linq(subscription))
        return {"kind": fault.kind, "disabled": [str(subscription.id) for subscription in disabled]}

    def clear_faults(self) -> None:
        """Remove every fault and send the events that they delay."""
        self._state.faults.clear()

    def clear_fault(self, fault_id: int) -> None:
        """Remove one fault and send the events that it delays."""
        if not self._state.faults.clear(fault_id):
            raise ApiError(404, 1005, "No active fault has this id; GET /sandbox/faults lists them")

    def add_line(self, line: str) -> dict[str, Any]:
        """Add a line to the account, as Linq's staff do."""
        if line in self._state.lines:
            raise ApiError(409, 1005, f"line: {line} is already a line of this sandbox")
        self._state.lines.append(line)
        self._emit(Emission(type="phone_number.assigned", line=line))
        return {"lines": self._state.lines}

    def remove_line(self, line: str) -> dict[str, Any]:
        """Remove a line from the account."""
        if line not in self._state.lines:
            raise _no_such_line(line)
        if len(self._state.lines) == 1:
            raise ApiError(409, 1005, f"line: {line} is the last line of this sandbox, which needs one")
        self._state.lines.remove(line)
        self._state.forwarding.pop(line, None)
        self._state.reputations.pop(line, None)
        self._emit(Emission(type="phone_number.released", line=line))
        return {"lines": self._state.lines}

    def flag_line(self, line: str, status: LineStatus) -> dict[str, Any]:
        """Flag a line of the account, or make it healthy again."""
        if line not in self._state.lines:
            raise _no_such_line(line)
        self._emit(Emission(type="phone_number.status_updated", line=line, flagged=status.flagged))
        return {"line": line, "reputation": self._state.reputations.get(line, "HEALTHY")}

    def add_foreign_subscription(self) -> dict[str, Any]:
        """Create a subscription of another account: every call for it gets 403."""
        foreign_id = str(uuid.uuid4())
        self._state.foreign.add(foreign_id)
        return {"id": foreign_id}

    def forget_deliveries(self) -> None:
        """Delete the list of deliveries; those in flight continue."""
        self._state.deliveries.clear()


def validated(validate: Callable[[Any], _T], value: Any) -> _T:
    """Validate with a method of a `TypeAdapter`; errors become one `ApiError`, each with the name of its field."""
    try:
        return validate(value)
    except ValidationError as error:
        raise malformed("; ".join(map(_message, error.errors(include_url=False)))) from None


def _no_such_line(line: str) -> ApiError:
    return ApiError(404, 1005, f"line: {line} is not a line of this sandbox; GET /sandbox/lines lists them")


def _message(error: Any) -> str:
    """Return the message of a Pydantic error, with the name of the field."""
    if error["type"].startswith("union_tag"):
        kinds = error["ctx"].get("expected_tags") or ", ".join(f"'{kind}'" for kind in FAULT_KINDS)
        return f"kind: one of {kinds}"
    return ": ".join(filter(None, (".".join(map(str, error["loc"])), message_of(error, JSON))))
