"""The sandbox as one HTTP server: Linq's v3 and v2 APIs, and a control API with a page under `/sandbox`.

A call of an API changes the state (`state.py`); an event (`events`) is matched with the subscriptions in the state and
delivered to each (`delivery`), subject to the active faults (`faults`). All state is in memory and lost on exit.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from relay.sandbox.actions import Actions
from relay.sandbox.api.v2 import V2Api
from relay.sandbox.api.v3 import V3Api
from relay.sandbox.api.v3_errors import error_middleware
from relay.sandbox.control import Control
from relay.sandbox.delivery.post import Poster
from relay.sandbox.delivery.sender import Deliveries
from relay.sandbox.events.emit import Emission, build_event
from relay.sandbox.events.event import event_for_both_apis, v3_event_of
from relay.sandbox.history import History
from relay.sandbox.page.app import Page
from relay.sandbox.state import SandboxState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.sandbox.events.conversations import ConversationStep
    from relay.sandbox.events.event import SandboxEvent

__all__ = ["Emission", "Sandbox", "open_sandbox", "sandbox_app"]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox."""

    state: SandboxState
    deliveries: Deliveries
    history: History = field(default_factory=History)

    def emit(self, emission: Emission) -> tuple[str, int]:
        """Send one event; return its id and the number of subscriptions that match it.

        Raises:
            KeyError: the sandbox has no payload for this type, and none was given.
        """
        happening = replace(build_event(emission, self.state.lines), account=emission.account)
        return self._happen(happening, is_silent=emission.silent is True)

    def play(self, step: ConversationStep) -> tuple[str, int]:
        """Send one event of a conversation; return its id and the number of subscriptions that match it."""
        now = datetime.now(UTC)
        scenario = replace(step.scenario, event_time=now)
        telling = v3_event_of(step.event_type, str(uuid.uuid4()), now, scenario)
        return self._happen(event_for_both_apis(telling, scenario, scenario.line))

    def _happen(self, event: SandboxEvent, *, is_silent: bool = False) -> tuple[str, int]:
        """Apply an event to chats and lines, and send it; a silent one is not sent."""
        scenario = event.scenario
        if scenario is not None:
            self.history.record(event.event_type, scenario, event.reconciled_at)
            if event.event_type == "phone_number.status_updated":
                self.state.set_flagged(scenario.line, is_flagged=scenario.flagged)
        return event.event_id, 0 if is_silent else self.deliveries.send(event)


@asynccontextmanager
async def open_sandbox(
    lines: Sequence[str],
    *,
    speed: float = 1.0,
    seed: int = 1,
    accounts: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[Sandbox]:
    """Run a sandbox with these lines; `speed` divides its delays between attempts.

    `accounts` are the lines of further accounts, by their API key.
    """
    state = SandboxState(lines, accounts)
    connector = aiohttp.TCPConnector(limit=0)  # the limit is in Poster
    async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": "linq-sandbox"}) as session:
        deliveries = Deliveries(state, Poster(session), speed, seed)
        try:
            yield Sandbox(state, deliveries)
        finally:
            await deliveries.close()


def sandbox_app(sandbox: Sandbox, api_key: str, *, allow_local: bool) -> web.Application:
    """Return the HTTP application of `sandbox`."""
    app = web.Application(middlewares=[error_middleware])
    v3 = V3Api(sandbox.state, sandbox.history, api_key, sandbox.emit, allow_local=allow_local)
    v2 = V2Api(sandbox.state, api_key, allow_local=allow_local)
    for prefix in ("/api/partner", ""):
        app.add_subapp(f"{prefix}/v3", v3.app())
        app.add_subapp(f"{prefix}/v2", v2.app())
    actions = Actions(sandbox.state, sandbox.emit, sandbox.history)
    app.add_routes(Control(sandbox.state, actions).routes())
    Page(sandbox.state, actions).add_to(app)
    return app
