"""The control API of the sandbox: send events, inject faults, inspect deliveries.

GET    /sandbox                       page with lines, subscriptions, faults, recent deliveries and examples
GET    /sandbox/state                 the same as JSON; deliveries only as counts by state
POST   /sandbox/emit                  {"type": "message.received", "line": "+16465550123"}: send an event
GET    /sandbox/deliveries            deliveries with attempts; ?event_id= ?subscription_id= ?state= ?limit=
DELETE /sandbox/deliveries            delete the list of deliveries
POST   /sandbox/faults                {"kind": "duplicate", "times": 3, "count": 10}: add a fault
GET    /sandbox/faults                list the active faults
DELETE /sandbox/faults[/{id}]         remove all faults, or one; their delayed events are sent
GET    /sandbox/lines                 list the lines of the account
POST   /sandbox/lines                 {"line": "+16465550126"}: add a line, with phone_number.assigned
DELETE /sandbox/lines/{line}          remove a line, with phone_number.released; its subscriptions stay
POST   /sandbox/foreign-subscription  create a subscription of another account: calls for it get 403
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from relay.core.config.fields import Line
from relay.sandbox.api.v3_errors import ApiError, invalid, malformed
from relay.sandbox.events import account_changes
from relay.sandbox.events.emit import Emission, Emissions
from relay.sandbox.faults.models import FAULT_KINDS, FAULT_REQUEST, Disable
from relay.sandbox.page import page
from relay.sandbox.payloads import known_types
from relay.sandbox.payloads.v2 import v2_types
from relay.sandbox.state import MAX_DELIVERIES, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.state import SandboxState

_T = TypeVar("_T")
_EMISSIONS = TypeAdapter(Emissions)


class _DeliveryQuery(BaseModel):
    """The query of `GET /sandbox/deliveries`."""

    model_config = ConfigDict(extra="forbid")

    event_id: str | None = None
    subscription_id: str | None = None
    state: Literal["held", "sending", "waiting", "delivered", "failed"] | None = None
    limit: int = Field(1000, ge=1, le=MAX_DELIVERIES)


class _NewLine(BaseModel):
    """The body of `POST /sandbox/lines`."""

    model_config = ConfigDict(extra="forbid")

    line: Line


_DELIVERY_QUERY = TypeAdapter(_DeliveryQuery)
_NEW_LINE = TypeAdapter(_NewLine)


class Control:
    """The endpoints under `/sandbox`."""

    def __init__(self, state: SandboxState, emit: Callable[[Emission], tuple[str, int]]) -> None:
        self._state = state
        self._emit = emit

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the control API."""
        return [
            web.get("/sandbox", self.page),
            web.get("/sandbox/state", self.state),
            web.post("/sandbox/emit", self.emit),
            web.get("/sandbox/deliveries", self.deliveries),
            web.delete("/sandbox/deliveries", self.forget),
            web.post("/sandbox/faults", self.add_fault),
            web.get("/sandbox/faults", self.faults),
            web.delete("/sandbox/faults", self.clear_faults),
            web.delete(r"/sandbox/faults/{id:\d{1,9}}", self.clear_fault),
            web.get("/sandbox/lines", self.lines),
            web.post("/sandbox/lines", self.add_line),
            web.delete("/sandbox/lines/{line}", self.remove_line),
            web.post("/sandbox/foreign-subscription", self.foreign),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """Return the HTML page."""
        html = page(self._state, f"{request.scheme}://{request.host}")
        return web.Response(text=html, content_type="text/html", charset="utf-8")

    async def state(self, _: web.Request) -> web.Response:
        """Return lines, subscriptions, faults and counts of deliveries; no secrets."""
        return _json(200, self._state.as_json())

    async def emit(self, request: web.Request) -> web.Response:
        """Send events to the subscriptions that match them."""
        emission = await _body(_EMISSIONS, request)
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
        return _json(200, {"event_id": ids[0], "event_ids": ids, "subscriptions": emitted[0][1]})

    async def deliveries(self, request: web.Request) -> web.Response:
        """Return the latest deliveries that match the query, oldest first."""
        query = _validated(_DELIVERY_QUERY.validate_python, dict(request.query))
        found = self._state.deliveries_of(query.event_id, query.subscription_id, query.state)
        latest = [delivery.as_json() for delivery in found[-query.limit :]]
        return _json(200, {"deliveries": latest, "total": len(found)})

    async def forget(self, _: web.Request) -> web.Response:
        """Delete the list of deliveries; those in flight continue."""
        self._state.deliveries.clear()
        return web.Response(status=204)

    async def add_fault(self, request: web.Request) -> web.Response:
        """Activate a fault, or disable subscriptions as Linq does."""
        fault = await _body(FAULT_REQUEST, request)
        if isinstance(fault, Disable):
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
            return _json(200, {"kind": fault.kind, "disabled": [str(subscription.id) for subscription in disabled]})
        return _json(201, self._state.faults.add(fault).as_json())

    async def faults(self, _: web.Request) -> web.Response:
        """Return the active faults."""
        return _json(200, {"faults": [active.as_json() for active in self._state.faults.active]})

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Remove every fault and send the events that they delay."""
        self._state.faults.clear()
        return web.Response(status=204)

    async def clear_fault(self, request: web.Request) -> web.Response:
        """Remove one fault and send the events that it delays."""
        if not self._state.faults.clear(int(request.match_info["id"])):
            raise ApiError(404, 1005, "No active fault has this id; GET /sandbox/faults lists them")
        return web.Response(status=204)

    async def lines(self, _: web.Request) -> web.Response:
        """Return the lines of the account."""
        return _json(200, {"lines": self._state.lines})

    async def add_line(self, request: web.Request) -> web.Response:
        """Add a line to the account, as Linq's staff do."""
        line = (await _body(_NEW_LINE, request)).line
        if line in self._state.lines:
            raise ApiError(409, 1005, f"line: {line} is already a line of this sandbox")
        self._state.lines.append(line)
        self._emit(Emission(type="phone_number.assigned", line=line))
        return _json(201, {"lines": self._state.lines})

    async def remove_line(self, request: web.Request) -> web.Response:
        """Remove a line from the account."""
        line = request.match_info["line"]
        if line not in self._state.lines:
            raise ApiError(404, 1005, f"line: {line} is not a line of this sandbox; GET /sandbox/lines lists them")
        if len(self._state.lines) == 1:
            raise ApiError(409, 1005, f"line: {line} is the last line of this sandbox, which needs one")
        self._state.lines.remove(line)
        self._state.forwarding.pop(line, None)
        self._emit(Emission(type="phone_number.released", line=line))
        return _json(200, {"lines": self._state.lines})

    async def foreign(self, _: web.Request) -> web.Response:
        """Create a subscription of another account: every call for it gets 403."""
        foreign_id = str(uuid.uuid4())
        self._state.foreign.add(foreign_id)
        return _json(201, {"id": foreign_id})


async def _body(adapter: TypeAdapter[_T], request: web.Request) -> _T:
    return _validated(adapter.validate_json, await request.read())


def _validated(validate: Callable[[Any], _T], value: Any) -> _T:
    try:
        return validate(value)
    except ValidationError as error:
        raise malformed("; ".join(map(_message, error.errors(include_url=False, include_input=False)))) from None


def _message(error: Any) -> str:
    """Return the message of a Pydantic error, with the name of the field."""
    if error["type"].startswith("union_tag"):
        kinds = error["ctx"].get("expected_tags") or ", ".join(f"'{kind}'" for kind in FAULT_KINDS)
        return f"kind: one of {kinds}"
    return ": ".join(filter(None, (".".join(map(str, error["loc"])), error["msg"])))


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=to_json(value), content_type="application/json")
