"""Visitors: the session of a cookie, or the user that a reverse proxy names.

The cookie holds a random id. Before signing in it only binds forms to the browser; signing in replaces it by that of a
session, which Redis knows by its hash. The session has the rights of its token at each request, so that revoking the
token, or its expiry, ends it at once.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from relay.core.errors import Forbidden
from relay.services.account import sessions
from relay.web.pages.shell.site import SITE, Visitor

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from relay.web.pages.shell.site import Site

COOKIE = "relay_session"
VISITOR = web.RequestKey("visitor", Visitor)
_ID_BYTES = 32
_MAX_ID = 64  # characters
_STATIC = "/static/"


@web.middleware
async def know_visitor(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who sends a request, and give a new browser its id (middleware)."""
    if request.path.startswith(_STATIC):
        return await handler(request)
    request[VISITOR] = visitor = await find_visitor(request)
    response = await handler(request)
    is_new = request.cookies.get(COOKIE) != visitor.browser
    if is_new and COOKIE not in response.cookies and not response.prepared:
        give(request, response, visitor.browser)
    return response


async def find_visitor(request: web.Request) -> Visitor:
    """Return who sends a request.

    Raises:
        Forbidden: a reverse proxy names a user who may do nothing here, or more than one.
    """
    site = request.app[SITE]
    browser = request.cookies.get(COOKIE, "")
    if not browser or len(browser) > _MAX_ID or not browser.isascii():
        browser = new_id()
    if user := _proxied_user(site, request):
        principal = await sessions.of_proxied_user(site.context, user, source_of(request))
        if principal is None:
            raise Forbidden(f"{user} may not use this page; an operator can allow it with RELAY_PAGE_USERS")
        return Visitor(browser, principal, is_proxied=True)
    is_known = COOKIE in request.cookies
    principal = await sessions.principal_of(site.context, browser, source_of(request)) if is_known else None
    return Visitor(browser, principal)


def give(request: web.Request, response: web.StreamResponse, browser: str) -> None:
    """Give a browser its id, in a cookie that no script can read and no other site can use."""
    is_https = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
    response.set_cookie(COOKIE, browser, httponly=True, secure=is_https, samesite="Strict", path="/")


def new_id() -> str:
    """Return a new random id of a browser or session."""
    return secrets.token_urlsafe(_ID_BYTES)


def source_of(request: web.Request) -> str:
    """Return the address that a request came from, for the audit."""
    return request.remote or "unknown"


def _proxied_user(site: Site, request: web.Request) -> str | None:
    """Return the user that a configured proxy names.

    Raises:
        Forbidden: the header is there twice, once perhaps from the client.
    """
    settings = site.context.settings
    header = settings.relay_page_user_header
    if header is None or not settings.is_page_proxy(request.remote):
        return None
    names = request.headers.getall(header, [])
    if len(names) > 1:
        raise Forbidden(f"{header} is there {len(names)} times; let the proxy replace what its clients send")
    return "".join(names).strip() or None
