"""Authentication: the bearer of a token becomes a principal. Guesses are limited (`net.guesses`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import hdrs

from relay.net.guesses import RETRY_AFTER, Guesses
from relay.web.api.problems import ApiProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from relay.core.access.principal import Principal
    from relay.services.context import Context

_MAX_TOKEN = 200  # characters
_REALM = 'Bearer realm="linq-relay"'


class Authenticate(Protocol):
    """The service that knows tokens."""

    async def __call__(self, context: Context, text: str, source: str) -> Principal | None:
        """Return the bearer of a token; None if it is not valid."""


class Authentication:
    """The tokens of requests."""

    def __init__(self, authenticate: Authenticate, clock: Callable[[], float]) -> None:
        """`clock` returns seconds."""
        self._authenticate = authenticate
        self._guesses = Guesses(clock)

    async def principal(self, context: Context, request: web.Request) -> Principal:
        """Return the author of a request.

        Raises:
            ApiProblem: the request has no valid token, or its address sent too many that are not valid.
        """
        text = bearer_token(request)
        if text is None:
            raise _unauthenticated(_REALM, "send the header Authorization: Bearer <token>")
        source = request.remote or ""
        if not self._guesses.may_try(text, source):
            raise ApiProblem(
                429, f"too many requests without a valid token came from {source}", retry_after=RETRY_AFTER
            )
        principal = await self._authenticate(context, text, source) if len(text) <= _MAX_TOKEN else None
        if principal is None:
            self._guesses.wrong(text, source)
            raise _unauthenticated(f'{_REALM}, error="invalid_token"', "the token is unknown, expired or revoked")
        self._guesses.right(text)
        return principal


def bearer_token(request: web.Request) -> str | None:
    """Return the token in the head of a request."""
    scheme, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and text and text.isascii() else None


def _unauthenticated(challenge: str, detail: str) -> ApiProblem:
    return ApiProblem(401, detail, headers={"WWW-Authenticate": challenge})
