"""What the sandbox has beside Linq's APIs: making things happen, and seeing what happened.

GET    /sandbox                       everything on a page
GET    /sandbox/state                 everything but the deliveries, as JSON
POST   /sandbox/emit                  {"type": "message.received", "line": "+16465550123"}: to all who want it
GET    /sandbox/deliveries            deliveries with their attempts; ?event_id= ?subscription_id= ?state= ?limit=
DELETE /sandbox/deliveries            forgets them
POST   /sandbox/faults                {"kind": "duplicate", "times": 3, "count": 10}
GET    /sandbox/faults                those in force
DELETE /sandbox/faults[/{id}]         ends all, or one, and lets go what they hold back
POST   /sandbox/foreign-subscription  a subscription of another account, for whoever wants to see a 403
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from relay.sandbox.api.v3_errors import ApiError, invalid, malformed
from relay.sandbox.events import account_changes
from relay.sandbox.events.emit import Emission, Emissions
from relay.sandbox.faults.models import FAULT_KINDS, FAULT_REQUEST, Disable
from relay.sandbox.page import page
from relay.sandbox.payloads import known_types
from relay.sandbox.payloads.v2 import v2_types
from relay.sandbox.state import DELIVERIES_KEPT, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.state import SandboxState

_T = TypeVar("_T")
_EMISSIONS = TypeAdapter(Emissions)


class _Wanted(BaseModel):
    """The query of `GET /sandbox/deliveries`."""

    model_config = ConfigDict(extra="forbid")

    event_id: str | None = None
    subscription_id: str | None = None
    state: Literal["held", "sending", "waiting", "delivered", "failed"] | None = None
    limit: int = Field(1000, ge=1, le=DELIVERIES_KEPT)


_WANTED = TypeAdapter(_Wanted)


class Control:
    """The endpoints under `/sandbox`."""

    def __init__(self, state: SandboxState, emit: Callable[[Emission], tuple[str, int]]) -> None:
        self._state = state
        self._emit = emit

    def routes(self) -> list[web.RouteDef]:
        """Where each is."""
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
            web.post("/sandbox/foreign-subscription", self.foreign),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """The page for people."""
        html = page(self._state, f"{request.scheme}://{request.host}")
        return web.Response(text=html, content_type="text/html", charset="utf-8")

    async def state(self, _: web.Request) -> web.Response:
        """Lines, subscriptions, faults; no secrets."""
        return _json(200, self._state.shown())

    async def emit(self, request: web.Request) -> web.Response:
        """Emits events."""
        wanted = await _body(_EMISSIONS, request)
        if wanted.line is not None and wanted.line not in self._state.lines:
            raise invalid(f"line: {wanted.line} is none of the sandbox's: {', '.join(self._state.lines)}")
        try:
            emitted = [self._emit(wanted) for _ in range(wanted.count)]
        except KeyError:
            known = ", ".join(v2_types() if wanted.api == "v2" else known_types())
            remedy = '"body"' if wanted.api == "v2" else '"data"'
            raise invalid(f"give {remedy} for {wanted.type}; the sandbox makes payloads for {known}") from None
        ids = [event_id for event_id, _ in emitted]
        return _json(200, {"event_id": ids[0], "event_ids": ids, "subscriptions": emitted[0][1]})

    async def deliveries(self, request: web.Request) -> web.Response:
        """The newest deliveries that fit, in the order they began."""
        wanted = _validated(_WANTED.validate_python, dict(request.query))
        found = self._state.deliveries_of(wanted.event_id, wanted.subscription_id, wanted.state)
        shown = [delivery.shown() for delivery in found[-wanted.limit :]]
        return _json(200, {"deliveries": shown, "total": len(found)})

    async def forget(self, _: web.Request) -> web.Response:
        """Forgets every delivery; those on their way go on."""
        self._state.deliveries.clear()
        return web.Response(status=204)

    async def add_fault(self, request: web.Request) -> web.Response:
        """Puts a fault in force, or has Linq disable subscriptions."""
        fault = await _body(FAULT_REQUEST, request)
        if isinstance(fault, Disable):
            disabled = self._state.disable(fault.subscription_id, fault.line)
            if not disabled:
                raise invalid(f"no subscription is {fault.subscription_id or f'filtered by {fault.line}'}")
            for one in disabled:
                if isinstance(one, Subscription):
                    self._emit(account_changes.disabled_by_linq(one))
            return _json(200, {"kind": fault.kind, "disabled": [str(one.id) for one in disabled]})
        return _json(201, self._state.faults.add(fault).shown())

    async def faults(self, _: web.Request) -> web.Response:
        """The faults in force."""
        return _json(200, {"faults": [active.shown() for active in self._state.faults.active]})

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Ends every fault."""
        self._state.faults.clear()
        return web.Response(status=204)

    async def clear_fault(self, request: web.Request) -> web.Response:
        """Ends one fault."""
        if not self._state.faults.clear(int(request.match_info["id"])):
            raise ApiError(404, 1005, "No such fault is in force")
        return web.Response(status=204)

    async def foreign(self, _: web.Request) -> web.Response:
        """A subscription that the API key has no right to: every call for it is 403."""
        foreign_id = str(uuid.uuid4())
        self._state.foreign.add(foreign_id)
        return _json(201, {"id": foreign_id})


async def _body(adapter: TypeAdapter[_T], request: web.Request) -> _T:
    return _validated(adapter.validate_json, await request.read())


def _validated(validate: Callable[[Any], _T], value: Any) -> _T:
    try:
        return validate(value)
    except ValidationError as error:
        raise malformed("; ".join(map(_sentence, error.errors(include_url=False, include_input=False)))) from None


def _sentence(mistake: Any) -> str:
    """Pydantic's finding, with the name of the field."""
    if mistake["type"].startswith("union_tag"):
        kinds = mistake["ctx"].get("expected_tags") or ", ".join(f"'{kind}'" for kind in FAULT_KINDS)
        return f"kind: one of {kinds}"
    return ": ".join(filter(None, (".".join(map(str, mistake["loc"])), mistake["msg"])))


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=to_json(value), content_type="application/json")
