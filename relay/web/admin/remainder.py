"""The remainder: an application that gets every request that no other route takes.

aiohttp mounts an application below a prefix, which cannot be empty, or for a host, and then before all other routes. So
this resource stands last, at `/`, and asks the router of the application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def add_remainder(app: web.Application, part: web.Application) -> None:
    """Let `part` answer what no route of `app` takes; it starts and ends with `app`."""

    async def run(_: web.Application) -> AsyncIterator[None]:
        await part.startup()
        yield
        await part.shutdown()
        await part.cleanup()

    app.router.register_resource(_Remainder(part))
    part.pre_freeze()
    app.cleanup_ctx.append(run)


class _Remainder(web.AbstractResource):
    """A resource that every path belongs to."""

    def __init__(self, part: web.Application) -> None:
        super().__init__(name=None)
        self._part = part

    @property
    def canonical(self) -> str:
        """The path below which it is."""
        return "/"

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo, set[str]]:  # type: ignore[override]
        """Return the route of the application, or its error: nothing is left for other resources."""
        found: Any = await self._part.router.resolve(request)
        found.add_app(self._part)
        return found, set()

    def url_for(self, **_: str) -> NoReturn:
        """Refuse: its routes have no names here."""
        raise RuntimeError("the remainder has no URL of its own")

    def add_prefix(self, prefix: str) -> None:
        """Refuse a prefix: it would not be the remainder any more."""
        raise RuntimeError(f"the remainder cannot be below {prefix}")

    def get_info(self) -> Any:
        """Return the application, for those who list routes."""
        return {"app": self._part}

    def raw_match(self, path: str) -> bool:
        """Return True: every path belongs to it."""
        return path.startswith("/")

    def freeze(self) -> None:
        """Freeze the routes of the application."""
        self._part.router.freeze()

    def __len__(self) -> int:
        return len(self._part.router.routes())

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(self._part.router.routes())
