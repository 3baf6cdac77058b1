"""The way to the relay that a command asks: Redis, or for a team's developer the API, with a token only."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from relay.config.load import redis_problem
from relay.config.settings import Settings
from relay.core.errors import Problem, RelayError, SettingsError
from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from relay.cli.remote import client
else:  # a third of a second, which commands that ask Redis do without
    aiohttp = LazyModule("aiohttp")
    client = LazyModule("relay.cli.remote.client")

_PATH = "/api/v1"

VIA_OPTIONS: dict[str, Any] = {
    "api": Annotated[
        str | None, typer.Option("--api", metavar="URL", help="The relay's admin listener; default: RELAY_API_URL.")
    ],
    "token": Annotated[
        str | None, typer.Option("--token", metavar="TEXT", help="The token; default: RELAY_API_TOKEN.")
    ],
}


class ApiError(RelayError):
    """The API refuses, or is none."""

    def __init__(self, message: str, status: int = 0, cursor: str | None = None) -> None:
        """`status` is that of the refusal; `cursor` continues a search that had no time to look everywhere."""
        super().__init__(message)
        self.status = status
        self.cursor = cursor


@dataclass(frozen=True, slots=True)
class Access:
    """The base URL of an API, and a token for it."""

    base: str
    token: str


@dataclass(frozen=True, slots=True)
class Via:
    """The options `--api` and `--token`."""

    api: str | None = None
    token: str | None = None

    def remote(self) -> Access | None:
        """Return the access to the API if that is to be asked: by an option, or where there is no Redis.

        Raises:
            typer.BadParameter: the URL or the token is missing or wrong.
            SettingsError: there is neither Redis nor an API.
        """
        if self.api or self.token:
            return self.access()
        problem = redis_problem()
        if problem is None:
            return None
        settings = Settings.load()
        if settings.relay_api_url or settings.relay_api_token:
            return self.access(settings)
        without = Problem(
            "RELAY_API_URL", "not set either; with a token, give --api URL --token TEXT, or set it and RELAY_API_TOKEN"
        )
        raise SettingsError("The environment is not complete:", (problem, without))

    def access(self, settings: Settings | None = None) -> Access:
        """Return the access to the API, from the options or the environment.

        Raises:
            typer.BadParameter: the URL or the token is missing or wrong.
        """
        settings = settings or Settings.load()
        given = settings.relay_api_token.get_secret_value() if settings.relay_api_token else None
        api, token = self.api or settings.relay_api_url, self.token or given
        if not api:
            raise typer.BadParameter(
                "give the address of the relay's admin listener, such as http://127.0.0.1:8081, here or in "
                "RELAY_API_URL",
                param_hint="--api",
            )
        if not token:
            raise typer.BadParameter(
                "give a token (relay token create), here or in RELAY_API_TOKEN", param_hint="--token"
            )
        try:
            return Access(_base_of(api), token)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--api") from None


@asynccontextmanager
async def open_api(access: Access) -> AsyncIterator[client.Api]:
    """Open a client of the API."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        yield client.Api(http, access.base, access.token)


def _base_of(url: str) -> str:
    """Return the base URL of the API of the relay at `url`.

    Raises:
        ValueError: it is not an http or https URL.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f'"{url}" is not the URL of an admin listener, such as http://127.0.0.1:8081')
    path = parts.path.rstrip("/").removesuffix(_PATH)
    return f"{parts.scheme}://{parts.netloc}{path}{_PATH}"
