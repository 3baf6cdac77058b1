"""The control API of the sandbox: send events, inject faults, inspect deliveries.

GET    /sandbox                       page that shows and controls the sandbox (`page`)
GET    /sandbox/state                 the same as JSON; deliveries only as counts by state
POST   /sandbox/emit                  {"type": "message.received", "line": "+16465550123"}: send an event
POST   /sandbox/outage                {"messages": 1000, "seconds": 3600}: messages in chats, without webhooks
GET    /sandbox/deliveries            deliveries with attempts; ?event_id= ?subscription_id= ?state= ?limit=
DELETE /sandbox/deliveries            delete the list of deliveries
POST   /sandbox/faults                {"kind": "duplicate", "times": 3, "count": 10}: add a fault
GET    /sandbox/faults                list the active faults
DELETE /sandbox/faults[/{id}]         remove all faults, or one; their delayed events are sent
GET    /sandbox/lines                 list the lines of the account
POST   /sandbox/lines                 {"line": "+16465550126"}: add a line, with phone_number.assigned
PUT    /sandbox/lines/{line}          {"flagged": true}: change its status, with phone_number.status_updated
DELETE /sandbox/lines/{line}          remove a line, with phone_number.released; its subscriptions stay
POST   /sandbox/foreign-subscription  create a subscription of another account: calls for it get 403
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import to_json

from relay.sandbox.actions import EMISSIONS, LINE_STATUS, NEW_LINE, OUTAGE, validated
from relay.sandbox.faults.models import FAULT_REQUEST, Disable
from relay.sandbox.state import MAX_DELIVERIES

if TYPE_CHECKING:
    from relay.sandbox.actions import Actions
    from relay.sandbox.state import SandboxState

_T = TypeVar("_T")


class _DeliveryQuery(BaseModel):
    """The query of `GET /sandbox/deliveries`."""

    model_config = ConfigDict(extra="forbid")

    event_id: str | None = None
    subscription_id: str | None = None
    state: Literal["held", "sending", "waiting", "delivered", "failed"] | None = None
    limit: int = Field(1000, ge=1, le=MAX_DELIVERIES)


_DELIVERY_QUERY = TypeAdapter(_DeliveryQuery)


class Control:
    """The JSON endpoints under `/sandbox`."""

    def __init__(self, state: SandboxState, actions: Actions) -> None:
        self._state = state
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the control API."""
        return [
            web.get("/sandbox/state", self.state),
            web.post("/sandbox/emit", self.emit),
            web.post("/sandbox/outage", self.outage),
            web.get("/sandbox/deliveries", self.deliveries),
            web.delete("/sandbox/deliveries", self.forget),
            web.post("/sandbox/faults", self.add_fault),
            web.get("/sandbox/faults", self.faults),
            web.delete("/sandbox/faults", self.clear_faults),
            web.delete(r"/sandbox/faults/{id:\d{1,9}}", self.clear_fault),
            web.get("/sandbox/lines", self.lines),
            web.post("/sandbox/lines", self.add_line),
            web.put("/sandbox/lines/{line}", self.flag_line),
            web.delete("/sandbox/lines/{line}", self.remove_line),
            web.post("/sandbox/foreign-subscription", self.foreign),
        ]

    async def state(self, _: web.Request) -> web.Response:
        """Return lines, subscriptions, faults and counts of deliveries; no secrets."""
        return _json(200, self._state.as_json())

    async def emit(self, request: web.Request) -> web.Response:
        """Send events to the subscriptions that match them."""
        return _json(200, self._actions.emit(await _body(EMISSIONS, request)))

    async def outage(self, request: web.Request) -> web.Response:
        """Add the messages of an outage to their chats, without webhooks."""
        return _json(200, self._actions.make_outage(await _body(OUTAGE, request)))

    async def deliveries(self, request: web.Request) -> web.Response:
        """Return the latest deliveries that match the query, oldest first."""
        query = validated(_DELIVERY_QUERY.validate_python, dict(request.query))
        found = self._state.deliveries_of(query.event_id, query.subscription_id, query.state)
        latest = [delivery.as_json() for delivery in found[-query.limit :]]
        return _json(200, {"deliveries": latest, "total": len(found)})

    async def forget(self, _: web.Request) -> web.Response:
        """Delete the list of deliveries; those in flight continue."""
        self._actions.forget_deliveries()
        return web.Response(status=204)

    async def add_fault(self, request: web.Request) -> web.Response:
        """Activate a fault, or disable subscriptions as Linq does."""
        fault = await _body(FAULT_REQUEST, request)
        return _json(200 if isinstance(fault, Disable) else 201, self._actions.add_fault(fault))

    async def faults(self, _: web.Request) -> web.Response:
        """Return the active faults."""
        return _json(200, {"faults": [active.as_json() for active in self._state.faults.active]})

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Remove every fault and send the events that they delay."""
        self._actions.clear_faults()
        return web.Response(status=204)

    async def clear_fault(self, request: web.Request) -> web.Response:
        """Remove one fault and send the events that it delays."""
        self._actions.clear_fault(int(request.match_info["id"]))
        return web.Response(status=204)

    async def lines(self, _: web.Request) -> web.Response:
        """Return the lines of the account."""
        return _json(200, {"lines": self._state.lines})

    async def add_line(self, request: web.Request) -> web.Response:
        """Add a line to the account, as Linq's staff do."""
        return _json(201, self._actions.add_line((await _body(NEW_LINE, request)).line))

    async def flag_line(self, request: web.Request) -> web.Response:
        """Flag a line, or make it healthy again."""
        return _json(200, self._actions.flag_line(request.match_info["line"], await _body(LINE_STATUS, request)))

    async def remove_line(self, request: web.Request) -> web.Response:
        """Remove a line from the account."""
        return _json(200, self._actions.remove_line(request.match_info["line"]))

    async def foreign(self, _: web.Request) -> web.Response:
        """Create a subscription of another account: every call for it gets 403."""
        return _json(201, self._actions.add_foreign_subscription())


async def _body(adapter: TypeAdapter[_T], request: web.Request) -> _T:
    return validated(adapter.validate_json, await request.read())


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=to_json(value), content_type="application/json")
