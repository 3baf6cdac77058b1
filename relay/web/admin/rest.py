"""An application below `/`, for all paths that nothing else has.

aiohttp mounts applications below a prefix that is not empty, or for a domain, and a domain comes before all paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.web_urldispatcher import _InfoDict, _Resolve
    from yarl import URL


def add_rest(app: web.Application, rest: web.Application) -> None:
    """Let `rest` answer what `app` has no route for; it starts and stops with `app`."""
    app.router.register_resource(_Rest(rest))
    rest.pre_freeze()
    app.on_startup.append(lambda _: rest.startup())
    app.on_shutdown.append(lambda _: rest.shutdown())
    app.on_cleanup.append(lambda _: rest.cleanup())


class _Rest(web.AbstractResource):
    """A resource for every path; the router asks the more specific ones first."""

    def __init__(self, app: web.Application) -> None:
        super().__init__()
        self._app = app

    @property
    def canonical(self) -> str:
        return "/"

    async def resolve(self, request: web.Request) -> _Resolve:
        match = await self._app.router.resolve(request)
        match.add_app(self._app)
        return match, set()

    def url_for(self, **kwargs: str) -> URL:
        raise NotImplementedError

    def add_prefix(self, prefix: str) -> None:
        raise NotImplementedError

    def get_info(self) -> _InfoDict:
        return {"app": self._app, "prefix": "/"}

    def raw_match(self, path: str) -> bool:
        return path == "/"

    def __len__(self) -> int:
        return len(self._app.router.routes())

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(self._app.router.routes())
