"""The page as an aiohttp application, for `add_domain("*", ...)` of the admin listener's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from relay.ui.assets import Assets
from relay.ui.forms import read_form
from relay.web.handed_over import read_body
from relay.web.pages.jobs import Jobs
from relay.web.pages.live import Live
from relay.web.pages.shell import errors, rendering, security, visitors
from relay.web.pages.shell.page import Page
from relay.web.pages.shell.site import NOTICE, SITE, Site
from relay.web.pages.views import ROUTES, sign_in

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from relay.services.context import Context
    from relay.services.operators.linq import Looker
    from relay.web.pages.shell.page import View


def pages_app(context: Context, linq: Looker | None = None) -> web.Application:
    """Return the application that serves the page; `linq` looks at the subscriptions at Linq."""
    app = web.Application(middlewares=[errors.show_errors, visitors.know_visitor, security.refuse_foreign])
    site = Site(context, Assets("/static", "relay.web.pages"), Live(), Jobs(), linq)
    app[SITE] = site
    rendering.set_up(app, site.assets)
    app.on_response_prepare.append(security.add_headers)
    app.on_cleanup.append(site.jobs.stop)
    app.router.add_get("/static/{name}", site.assets.serve)
    sign_in.add_to(app)
    for method, path, view in ROUTES:
        add = app.router.add_get if method == hdrs.METH_GET else app.router.add_post
        add(path, _handler(view))
    return app


def _handler(view: View) -> Handler:
    """Return the handler of a view: its caller has signed in, and its form is our own."""

    async def handle(request: web.Request) -> web.StreamResponse:
        visitor = request[visitors.VISITOR]
        if visitor.principal is None:
            return sign_in.ask(request)
        await read_body(request)
        form = await read_form(request) if request.method == hdrs.METH_POST else {}
        if request.method == hdrs.METH_POST:
            security.check_form("".join(form.pop(security.FORM_TOKEN, ())), visitor.browser)
        page = Page(request, visitor.principal, {name: values[-1] for name, values in form.items()}, form)
        response = await view(page)
        if NOTICE in request.cookies and NOTICE not in response.cookies and not response.prepared:
            response.del_cookie(NOTICE, path="/")
        return response

    return handle
