"""Rendering: the templates, the formats of values, and what every template knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp_jinja2
import jinja2
from aiohttp import hdrs, web

from relay.core.access.scopes import Scope
from relay.process.build import VERSION
from relay.web.pages.shell import formats
from relay.web.pages.shell.navigation import sections
from relay.web.pages.shell.security import FORM_TOKEN, form_token
from relay.web.pages.shell.site import NOTICE, SITE
from relay.web.pages.shell.visitors import VISITOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.core.access.principal import Principal
    from relay.ui.assets import Assets
    from relay.web.pages.shell.site import Visitor


_FILTERS: Mapping[str, Callable[..., str]] = {
    "ago": formats.ago,
    "chip": formats.chip_kind,
    "counted": formats.counted,
    "duration": formats.duration,
    "number": formats.number,
    "path": formats.path,
    "percent": formats.percent,
    "query": formats.query,
    "rate": formats.rate,
    "size": formats.size,
    "utc": formats.utc,
    "weekday": formats.weekday,
}


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
        filters=_FILTERS,
    )
    environment.globals.update(asset=assets.url, version=VERSION, dash=formats.DASH)


def rendered(request: web.Request, template: str, values: Mapping[str, Any]) -> str:
    """Return the text of a template."""
    return aiohttp_jinja2.render_string(template, request, {**_surroundings(request), **values})


def response_of(request: web.Request, template: str, values: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return a page."""
    return web.Response(text=rendered(request, template, values), content_type="text/html", status=status)


def _surroundings(request: web.Request) -> dict[str, Any]:
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
