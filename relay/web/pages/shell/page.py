"""A page: a request with the principal who sent it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import hdrs, web

from relay.web.pages.shell.rendering import rendered, response_of
from relay.web.pages.shell.site import NOTICE, SITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.web.pages.shell.site import Site

    View = Callable[["Page"], Awaitable[web.StreamResponse]]

_MAX_NOTICE = 500  # characters


@dataclass(frozen=True, slots=True)
class Page:
    """A request of a principal."""

    request: web.Request
    principal: Principal
    form: Mapping[str, str]
    """The fields of the form; of several of one name the last. Empty but for a POST."""
    forms: Mapping[str, tuple[str, ...]]
    """All values of each field."""

    @property
    def site(self) -> Site:
        """The site."""
        return self.request.app[SITE]

    @property
    def context(self) -> Context:
        """The surroundings of services."""
        return self.site.context

    @property
    def query(self) -> Mapping[str, str]:
        """The query of the URL."""
        return self.request.query

    @property
    def is_part(self) -> bool:
        """True if htmx asks for a part of the page."""
        return "HX-Request" in self.request.headers and "HX-Boosted" not in self.request.headers

    def named(self, name: str = "name") -> str:
        """Return a part of the path."""
        return self.request.match_info[name]

    def show(self, template: str, /, status: int = 200, **values: Any) -> web.Response:
        """Return a rendered template."""
        return response_of(self.request, template, values, status)

    def text(self, template: str, /, **values: Any) -> str:
        """Return the text of a rendered template, for a stream."""
        return rendered(self.request, template, values)

    def go(self, path: str, notice: str = "") -> web.Response:
        """Return a redirect to a page, which shows `notice`."""
        response = web.Response(status=303, headers={hdrs.LOCATION: path})
        if "HX-Request" in self.request.headers:  # htmx would follow a redirect and swap the page in
            response = web.Response(status=204, headers={"HX-Redirect": path})
        if notice:
            cut = quote(notice[:_MAX_NOTICE])
            response.set_cookie(NOTICE, cut, max_age=60, httponly=True, samesite="Strict", path="/")
        return response
