"""Protection of a page in a browser: headers of every response, and the origin of a form.

A response allows no script, style, frame or connection but our own, and nothing inline. A request that changes
something must come from our own page, as browsers tell it: `Sec-Fetch-Site`, or `Origin` where that is missing
(browsers leave it out over plain http to other machines).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs

if TYPE_CHECKING:
    from aiohttp import web

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send "Origin: null" with our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def is_own(request: web.Request) -> bool:
    """Return True if a browser says that our own page sent this request."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site == "same-origin"
    _, _, netloc = request.headers.get(hdrs.ORIGIN, "").partition("://")
    return bool(netloc) and netloc == request.headers.get(hdrs.HOST)
