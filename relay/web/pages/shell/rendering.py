"""Rendering: the templates, the formats of values, and what every template knows."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import hdrs
from markupsafe import Markup

from relay.core.access.scopes import Scope
from relay.process.build import VERSION
from relay.web.pages.charts import drawing
from relay.web.pages.shell.navigation import sections
from relay.web.pages.shell.security import FORM_TOKEN, form_token
from relay.web.pages.shell.site import NOTICE, SITE
from relay.web.pages.shell.visitors import VISITOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from relay.core.access.principal import Principal
    from relay.web.pages.shell.assets import Assets
    from relay.web.pages.shell.site import Visitor

NONE = "–"
_STEPS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def set_up(app: web.Application, assets: Assets) -> None:
    """Let the handlers of `app` render templates."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("relay.web.pages"),
        autoescape=True,
        auto_reload=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        context_processors=[_surroundings],
        filters={
            "ago": ago,
            "chip": chip_kind,
            "duration": duration,
            "number": number,
            "path": partial(quote, safe=""),
            "percent": percent,
            "query": _query,
            "rate": rate,
            "size": size,
            "utc": utc,
        },
    )
    environment.globals.update(asset=assets.url, version=VERSION, dash=NONE, chart=drawing, Scope=Scope)


def number(value: float | None) -> str:
    """Return a number with thin spaces between its thousands."""
    return NONE if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def rate(value: float | None) -> str:
    """Return a rate, with as many decimals as are worth reading."""
    if value is None:
        return NONE
    return number(value) if value >= 100 else f"{value:.1f}" if value >= 0.05 or not value else f"{value:.2f}"


def percent(part: float, whole: float) -> str:
    """Return a part in percent."""
    return NONE if not whole else f"{100 * part / whole:.4g} %"


def size(value: float | None) -> str:
    """Return a number of bytes."""
    if value is None:
        return NONE
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def duration(seconds: float | None) -> str:
    """Return a duration: its two largest units."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    left, parts = round(seconds), []
    for length, unit in _STEPS:
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def utc(at_ms: float | None) -> str:
    """Return a time in full."""
    return NONE if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


@jinja2.pass_context
def ago(values: jinja2.runtime.Context, at_ms: float | None) -> str | Markup:
    """Return a time relative to now, as an element that also has it in full."""
    if at_ms is None:
        return NONE
    seconds = (values["now_ms"] - at_ms) / 1000
    largest = duration(max(abs(seconds), 1)).split(" ")[:2]
    words = "now" if abs(seconds) < 1 else f"in {' '.join(largest)}" if seconds < 0 else f"{' '.join(largest)} ago"
    iso = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, utc(at_ms), words)


_CHIPS = {
    "good": {"active", "balances", "closed", "delivered", "delivering", "done", "ok", "ready", "current", "acknowledged"},
    "warn": {"failing", "holding up chats", "paused", "retrying", "pending", "running", "half open", "waiting", "expires"},
    "bad": {"breaker open", "dead", "expired", "failed", "missing", "revoked", "suspended", "lost", "drift", "open"},
}


def chip_kind(state: str) -> str:
    """Return the look of a state."""
    return next((kind for kind, states in _CHIPS.items() if state in states), "idle")


def _query(values: Mapping[str, Any], **changes: Any) -> str:
    """Return a query with changes; what is empty is left out."""
    merged = {**values, **changes}
    return urlencode({name: value for name, value in merged.items() if value not in {None, ""}})


async def _surroundings(request: web.Request) -> Mapping[str, Any]:
    """Return what every template knows."""
    visitor: Visitor | None = request.get(VISITOR)
    principal: Principal | None = visitor.principal if visitor else None
    return {
        "request": request,
        "now_ms": request.app[SITE].context.now_ms,
        "principal": principal,
        "is_proxied": bool(visitor and visitor.is_proxied),
        "can": _can(principal),
        "form_token_field": FORM_TOKEN,
        "form_token": form_token(visitor.browser) if visitor else "",
        "sections": sections(principal) if principal else [],
        "here": request.path,
        "notice": unquote(request.cookies.get(NOTICE, "")) if request.method == hdrs.METH_GET else "",
    }


def _can(principal: Principal | None) -> Mapping[str, bool]:
    """Return which buttons are shown."""
    scopes = principal.scopes if principal else frozenset[Scope]()
    return {str(scope): scope in scopes for scope in Scope} | {
        "operate": bool(principal and principal.is_operator and Scope.ADMIN in scopes)
    }
