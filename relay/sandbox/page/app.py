"""The page in the application of the sandbox: `/sandbox`, its live part and its forms.

A form is submitted to the page itself, whose response has the result where the form is. With htmx, only that part is
replaced, and the live part (lines, subscriptions, faults, deliveries) is asked for every two seconds; it is sent only
if it has changed, so that a selection in it stays. Other sites cannot submit the forms: browsers say where a request
is from.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import aiohttp_jinja2
from aiohttp import hdrs, web

from relay.sandbox.page.examples import examples
from relay.sandbox.page.forms import FAULTS, Result, Submissions, event_types, form_of
from relay.sandbox.page.view import DeliveryFilter, view_of
from relay.ui.assets import Assets
from relay.ui.forms import read_form
from relay.ui.security import HEADERS, is_own
from relay.ui.templates import set_up_templates

if TYPE_CHECKING:
    from relay.sandbox.actions import Actions
    from relay.sandbox.state import SandboxState

_FOREIGN = "This form was not sent by the page itself: open /sandbox in a browser, or use the control API with curl."


class Page:
    """The page of one sandbox."""

    def __init__(self, state: SandboxState, actions: Actions) -> None:
        self._state = state
        self._submissions = Submissions(state, actions)

    def add_to(self, app: web.Application) -> None:
        """Add the page to the application of the sandbox."""
        assets = Assets("/sandbox/static", "relay.sandbox.page")
        set_up_templates(app, "relay.sandbox.page", assets)
        app.router.add_get("/sandbox/static/{name}", assets.serve)
        app.router.add_get("/sandbox", self.show)
        app.router.add_post("/sandbox", self.submit)
        app.router.add_get("/sandbox/live", self.live)

    async def show(self, request: web.Request) -> web.Response:
        """Show the page."""
        return self._page(request, None)

    async def submit(self, request: web.Request) -> web.Response:
        """Carry out the action of a form, and show the page with its result."""
        if not is_own(request):
            return self._page(request, Result("", "tables", 403, _FOREIGN))
        form = {name: values[-1] for name, values in (await read_form(request)).items()}
        return self._page(request, self._submissions.submit(form.pop("action", ""), form, _url(request)))

    async def live(self, request: web.Request) -> web.Response:
        """Return the live part; 204 if it is still as the client has it."""
        values = self._live(request)
        if request.query.get("seen") == values["seen"]:
            return web.Response(status=204)
        return _rendered(request, "live.html", values)

    def _live(self, request: web.Request) -> dict[str, Any]:
        chosen = DeliveryFilter.of(request.query)
        values = {"view": view_of(self._state, chosen), "filter": chosen}
        rows = aiohttp_jinja2.render_string("rows.html", request, values)
        return {**values, "rows": rows, "seen": hashlib.sha256(rows.encode()).hexdigest()[:16]}

    def _page(self, request: web.Request, result: Result | None) -> web.Response:
        url = _url(request)
        values = {
            **self._live(request),
            "url": url,
            "result": result,
            "emit": form_of("emit", self._state),
            "add_line": form_of("line-add", self._state),
            "faults": [form_of(action, self._state) for action in FAULTS],
            "event_types": event_types(),
            "examples": examples(self._state, url),
        }
        status = result.status if result else 200
        return _rendered(request, "sandbox.html", values, status)


def _rendered(request: web.Request, template: str, values: dict[str, Any], status: int = 200) -> web.Response:
    response = aiohttp_jinja2.render_template(template, request, values, status=status)
    response.headers.update({**HEADERS, hdrs.CACHE_CONTROL: "no-store"})
    return response


def _url(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"
