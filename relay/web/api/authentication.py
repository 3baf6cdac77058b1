"""Authentication: the bearer of a token becomes a principal.

Each address has a budget of failures. Beyond it a token that this process does not know is not looked up, so that
guesses cost Redis nothing; tokens that have been valid lately go on, also behind the same proxy.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from aiohttp import hdrs

from relay.net.failure_limit import Budget, FailureLimit
from relay.web.api.problems import ApiProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from relay.core.access.principal import Principal
    from relay.services.context import Context

_EACH = Budget(rate=1, burst=20)
_ALL = Budget(rate=100, burst=400)
_RETRY_AFTER = 5.0  # seconds
_MAX_KNOWN = 4096  # tokens
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
        self._failures = FailureLimit(0, clock, each=_EACH, all_together=_ALL)
        self._known: OrderedDict[bytes, None] = OrderedDict()  # digests of tokens that were valid

    async def principal(self, context: Context, request: web.Request) -> Principal:
        """Return the author of a request.

        Raises:
            ApiProblem: the request has no valid token, or its address sent too many that are not valid.
        """
        text = bearer_token(request)
        if text is None:
            raise _unauthenticated(_REALM, "send the header Authorization: Bearer <token>")
        source = request.remote or ""
        digest = sha256(text.encode()).digest()
        if digest not in self._known and not self._failures.has_room(source):
            raise ApiProblem(
                429, f"too many requests without a valid token came from {source}", retry_after=_RETRY_AFTER
            )
        principal = await self._authenticate(context, text, source) if len(text) <= _MAX_TOKEN else None
        if principal is None:
            self._known.pop(digest, None)
            self._failures.take(source)
            raise _unauthenticated(f'{_REALM}, error="invalid_token"', "the token is unknown, expired or revoked")
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return principal


def bearer_token(request: web.Request) -> str | None:
    """Return the token in the head of a request."""
    scheme, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and text and text.isascii() else None


def _unauthenticated(challenge: str, detail: str) -> ApiProblem:
    return ApiProblem(401, detail, headers={"WWW-Authenticate": challenge})
