"""Static files: each has the hash of its content in its name, so that a browser may keep it for ever."""

from __future__ import annotations

import gzip
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"
_HASH_LENGTH = 12


class _Asset(NamedTuple):
    body: bytes
    compressed: bytes
    content_type: str


class Assets:
    """The static files of the page, in memory."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._assets: dict[str, _Asset] = {}
        for file in sorted(files("relay.web.pages").joinpath("static").iterdir(), key=lambda file: file.name):
            name = PurePath(file.name)
            if name.suffix in _TYPES:
                body = file.read_bytes()
                hashed = f"{name.stem}.{sha256(body).hexdigest()[:_HASH_LENGTH]}{name.suffix}"
                self._names[file.name] = hashed
                self._assets[hashed] = _Asset(body, gzip.compress(body, mtime=0), _TYPES[name.suffix])

    @property
    def names(self) -> Mapping[str, str]:
        """The names under which the files are served, by their own."""
        return self._names

    def url(self, name: str) -> str:
        """Return the path of a file."""
        return f"/static/{self._names[name]}"

    async def serve(self, request: web.Request) -> web.Response:
        """Serve a file."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {hdrs.CACHE_CONTROL: _FOR_EVER, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        body = asset.body
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            body = asset.compressed
        return web.Response(body=body, content_type=asset.content_type, charset="utf-8", headers=headers)
