"""Signing in, with a token or the single-use code of a link, and signing out.

A link only fills in the form: a program that opens links to look at them does not use the code up, and no link signs
anyone in without a click.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import hdrs, web

from relay.net.guesses import RETRY_AFTER
from relay.services.account import sessions
from relay.ui.forms import read_form
from relay.web.handed_over import read_body
from relay.web.pages.shell.rendering import response_of
from relay.web.pages.shell.security import FORM_TOKEN, check_form
from relay.web.pages.shell.site import SITE
from relay.web.pages.shell.visitors import COOKIE, VISITOR, give, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/sign-in"
_REFUSED = "This token is not valid: it is mistyped, revoked or expired. A new one: relay token create."
_TOO_MANY = "Too many wrong tokens came from {}. Wait a few seconds, then try once more."
_USED = "This link is used or too old. Make a new one, or sign in with a token."


def add_to(app: web.Application) -> None:
    """Add the routes, which need no session."""
    app.router.add_get(PATH, _show)
    app.router.add_post(PATH, _sign_in)
    app.router.add_post("/sign-out", _sign_out)


def ask(request: web.Request) -> web.Response:
    """Return a redirect to the form, which leads back to this page."""
    if "HX-Request" in request.headers:
        return web.Response(status=401, headers={"HX-Redirect": PATH})
    is_deep = request.method == hdrs.METH_GET and request.path != "/"
    return _redirect(f"{PATH}?{urlencode({'next': request.path_qs})}" if is_deep else PATH)


async def _show(request: web.Request) -> web.Response:
    if request[VISITOR].principal is not None and "code" not in request.query:
        return _redirect("/")
    return _form(request, code=request.query.get("code", ""), back=_own_path(request.query.get("next", "")))


async def _sign_in(request: web.Request) -> web.Response:
    form = await _checked_form(request)
    context, source = request.app[SITE].context, source_of(request)
    token, code, back = (form.get(name, "").strip() for name in ("token", "code", "next"))
    guesses, secret = request.app[SITE].guesses, code or token
    if not guesses.may_try(secret, source):
        refused = _form(request, error=_TOO_MANY.format(source), back=_own_path(back), status=429)
        refused.headers[hdrs.RETRY_AFTER] = f"{RETRY_AFTER:.0f}"
        return refused
    if code:
        session = await sessions.sign_in_by_code(context, code, source)
    else:
        session = await sessions.sign_in(context, token, source) if token else None
    if session is None:
        guesses.wrong(secret, source)
        return _form(request, error=_USED if code else _REFUSED, back=_own_path(back), status=403)
    if not code:  # a code is used up
        guesses.right(token)
    response = _redirect(_own_path(back) or "/")
    give(request, response, session)
    return response


async def _sign_out(request: web.Request) -> web.Response:
    await _checked_form(request)
    await sessions.sign_out(request.app[SITE].context, request[VISITOR].browser)
    response = _redirect(PATH)
    response.del_cookie(COOKIE, path="/", samesite="Strict", httponly=True)
    return response


async def _checked_form(request: web.Request) -> Mapping[str, str]:
    await read_body(request)
    form = {name: values[-1] for name, values in (await read_form(request)).items()}
    check_form(form.get(FORM_TOKEN, ""), request[VISITOR].browser)
    return form


def _form(request: web.Request, *, code: str = "", error: str = "", back: str = "", status: int = 200) -> web.Response:
    values = {"code": code, "error": error, "back": back}
    return response_of(request, "sign_in.html", values, status)


def _redirect(path: str) -> web.Response:
    return web.Response(status=303, headers={hdrs.LOCATION: path})


def _own_path(path: str) -> str:
    """Return a path of this site; empty if it leads elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_own else ""
