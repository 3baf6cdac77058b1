"""Idempotency-Key: a request that creates or sends, and is repeated with the same key, is answered without being done.

Answers can have secrets that are shown once, so they are encrypted with the text of the token, which the relay does not
keep: only who sent the request can read its answer again.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import hdrs
from cryptography.fernet import Fernet, InvalidToken
from pydantic import BaseModel

from relay.store import idempotency as store
from relay.web.api.guards.authentication import bearer_token
from relay.web.api.problems import RETRY_AFTER, ApiProblem, FieldError

if TYPE_CHECKING:
    from aiohttp import web

    from relay.core.access.principal import Principal
    from relay.store.driver.client import Redis

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
"""Header of an answer that was kept."""
PATTERN = r"^[\x21-\x7e]{1,255}$"


class Answer(NamedTuple):
    """The part of a response that is kept."""

    status: int
    body: bytes
    etag: str | None = None


class _Record(BaseModel):
    """The value in Redis, before it is encrypted."""

    request: str
    """Fingerprint of the request."""
    status: int | None = None
    """None while it is being done."""
    body: str = ""
    etag: str | None = None


class Claim:
    """An Idempotency-Key that the present request has claimed."""

    def __init__(self, redis: Redis, cipher: Fernet, holder: str, token: str, key: str, request: str) -> None:
        self._holder = holder
        self._redis = redis
        self._cipher = cipher
        self._token = token
        self._key = key
        self._request = request

    async def keep(self, answer: Answer) -> None:
        """Keep the answer for repeats."""
        record = _Record(
            request=self._request, status=answer.status, body=answer.body.decode(), etag=answer.etag
        ).model_dump_json()
        await store.keep(self._redis, self._token, self._key, self._cipher.encrypt(record.encode()))

    async def release(self) -> None:
        """Let the request be sent again: nothing was done."""
        await store.release(self._redis, self._holder, self._token, self._key)


async def claimed(redis: Redis, request: web.Request, principal: Principal) -> Claim | Answer | None:
    """Claim the key of a request whose body was read; return the answer if it was done before, None without a key.

    Raises:
        ApiProblem: the key is malformed, was used for another request, or that request is still being done.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if re.fullmatch(PATTERN, key) is None:
        error = FieldError(field=HEADER, message="must be 1 to 255 visible ASCII characters")
        raise ApiProblem(400, f"{HEADER} {error.message}", error)
    token = principal.token or principal.name
    holder = f"team:{principal.team}" if principal.team else f"token:{token}"
    cipher = Fernet(urlsafe_b64encode(sha256(f"{HEADER}:{bearer_token(request)}".encode()).digest()))
    fingerprint = await _fingerprint(request)
    mine = cipher.encrypt(_Record(request=fingerprint).model_dump_json().encode())
    found = await store.claim(redis, holder, token, key, mine)
    if found is None:
        return Claim(redis, cipher, holder, token, key, fingerprint)
    try:
        record = _Record.model_validate_json(cipher.decrypt(found))
    except InvalidToken:
        raise ApiProblem(422, f"this {HEADER} cannot be read; use another one") from None
    if record.request != fingerprint:
        error = FieldError(field=HEADER, message="was used for another request within a day")
        raise ApiProblem(422, f"{HEADER} {error.message}: use a new one for each request", error)
    if record.status is None:
        raise ApiProblem(409, f"a request with this {HEADER} is still being done", retry_after=RETRY_AFTER)
    return Answer(record.status, record.body.encode(), record.etag)


async def _fingerprint(request: web.Request) -> str:
    head = f"{request.method} {request.rel_url.raw_path_qs} {request.headers.get(hdrs.IF_MATCH, '')}\n"
    return sha256(head.encode() + await request.read()).hexdigest()
