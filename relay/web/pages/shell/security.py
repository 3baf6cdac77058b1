"""Protection of the page in a browser: headers of every response, and the proof that a form is our own.

A response allows no script, style, frame or connection but our own, and nothing inline. A request that changes
something is refused unless the browser says that our own page sent it (`Sec-Fetch-Site`, or `Origin` where that is
missing: browsers leave it out over plain http), and unless the form has the token of this browser. The cookie is
`SameSite=Strict` besides.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from relay.core.errors import Forbidden
from relay.ui.security import HEADERS, is_own

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

FORM_TOKEN = "form_token"  # noqa: S105  the name of a field
SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_STALE = "this form is not of your present session; go back, load the page again, and send it once more"
_FOREIGN = "this request was not sent by this page itself; open the page in a browser and use its own form"


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to a response (signal `on_response_prepare`)."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    if response.headers.get(hdrs.CACHE_CONTROL) == "no-cache":  # of a stream, by aiohttp-sse: a proxy could keep it
        del response.headers[hdrs.CACHE_CONTROL]
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


@web.middleware
async def refuse_foreign(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a change that another site asks the browser for (middleware)."""
    if request.method not in SAFE_METHODS and not is_own(request):
        raise Forbidden(_FOREIGN)
    return await handler(request)


def form_token(browser: str) -> str:
    """Return the token of the forms of a browser, whose cookie has the id `browser`."""
    return hmac.digest(browser.encode(), b"form", "sha256").hex()


def check_form(given: str, browser: str) -> None:
    """Check the token of a form.

    Raises:
        Forbidden: it is not the one of this browser.
    """
    if not hmac.compare_digest(given.encode(), form_token(browser).encode()):
        raise Forbidden(_STALE)
