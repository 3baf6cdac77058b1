"""The ingress: accept fast, work later.

    read the body (at most 1 MiB)
    verify it with the secrets of the URL's line (`linq.admission`, pure); re-read the keyring once if none fits
    one shared round trip to Redis: seen before? append, wake the router (`store.acceptor`)
    200, empty

Everything that goes wrong on our side is a 503, so that Linq tries again. A body that Linq signed but that is no
envelope is set aside and answered 200, since trying again would not help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from relay.core.errors import BadSignature, Refusal, SecretUnknown, Unparsable
from relay.core.event import Dialect
from relay.linq.admission import admit_v2, admit_v3
from relay.linq.urls import V2_PATH, V3_PATH, target_of_query
from relay.store.connect import describe
from relay.web import answers
from relay.web.health import add_health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.core.event import Arrival
    from relay.linq.urls import Target
    from relay.parts import IngressParts
    from relay.web.health import Readiness

log = structlog.get_logger()


def ingress_app(parts: IngressParts, readiness: Readiness) -> web.Application:
    """The application that Linq posts to."""
    app = web.Application(client_max_size=answers.LARGEST_BODY)
    ingress = Ingress(parts)
    app.router.add_post(V3_PATH, ingress.receive_v3)
    app.router.add_post(V2_PATH, ingress.receive_v2)
    add_health(app, readiness)
    return app


class Ingress:
    """The two webhook endpoints."""

    def __init__(self, parts: IngressParts) -> None:
        self._parts = parts

    async def receive_v3(self, request: web.Request) -> web.Response:
        """`POST /webhooks/linq?version=2026-02-03&line=16465550123`: other parameters are tolerated."""
        target = target_of_query(request.rel_url.raw_query_string)
        return await self._receive(request, Dialect.V3, target.line, lambda body: self._admit_v3(request, body, target))

    async def receive_v2(self, request: web.Request) -> web.Response:
        """`POST /webhooks/linq/v2`."""
        return await self._receive(request, Dialect.V2, None, lambda body: self._admit_v2(request, body))

    async def _receive(
        self, request: web.Request, dialect: Dialect, line: str | None, admit: Callable[[bytes], Awaitable[Arrival]]
    ) -> web.Response:
        parts = self._parts
        began = parts.clock()
        body = b""
        try:
            body = await _read(request)
            arrival = await admit(body)
            is_new = await parts.acceptor.accept(arrival)
        except web.HTTPRequestEntityTooLarge:
            return answers.too_large()
        except (web.RequestPayloadError, ConnectionError) as error:
            log.warning("event.cut_off", reason=describe(error), dialect=dialect, line=line, remote=request.remote)
            return answers.broken()
        except Unparsable as error:
            return await self._set_aside(dialect, line, body, error)
        except Refusal as error:
            log.warning(
                "event.refused", code=error.code, reason=str(error), dialect=dialect, line=line, remote=request.remote
            )
            return answers.refused(error)
        except Exception:
            log.exception("event.broken", dialect=dialect, line=line)
            return answers.broken()
        parts.heard.note(arrival, began)
        log.info(
            "event.accepted",
            id=arrival.id,
            type=arrival.type,
            line=arrival.line,
            dialect=dialect,
            repeat=not is_new,
            bytes=len(body),
            ms=round((parts.clock() - began) * 1000, 2),
        )
        return answers.accepted()

    async def _admit_v3(self, request: web.Request, body: bytes, target: Target) -> Arrival:
        keys, headers = self._parts.keys, request.headers
        if target.named and target.line is None:
            raise SecretUnknown("the line in the URL is not a phone number")
        if not keys.has(target.line, None):
            await keys.renew()
        if not keys.has(target.line, None):
            raise SecretUnknown(
                f"no secret is stored for {target.line or 'URLs without a line'}; relay bootstrap apply stores it"
            )
        try:
            return admit_v3(headers, body, keys.of(target.line, target.generation), self._parts.clock())
        except BadSignature as error:
            if not error.another_secret_could_help:
                raise
        await keys.renew()
        try:
            return admit_v3(headers, body, keys.of(target.line, target.generation), self._parts.clock())
        except BadSignature:
            if keys.has(target.line, target.generation):
                raise
            raise SecretUnknown(f"no secret is stored for generation {target.generation} of {target.line}") from None

    async def _admit_v2(self, request: web.Request, body: bytes) -> Arrival:
        secrets = self._parts.keys.fixed
        if not secrets:
            raise SecretUnknown("LINQ_V2_WEBHOOK_SECRET is not set")
        return admit_v2(request.headers, body, secrets)

    async def _set_aside(self, dialect: Dialect, line: str | None, body: bytes, error: Unparsable) -> web.Response:
        try:
            await self._parts.aside.put(dialect, line, body, str(error), round(self._parts.clock() * 1000))
        except Refusal as refusal:
            return answers.refused(refusal)
        log.error("event.aside", reason=str(error), dialect=dialect, line=line, bytes=len(body))
        return answers.accepted()


async def _read(request: web.Request) -> bytes:
    """The body, unless it is over the limit, which its length may say before it is sent."""
    length = request.content_length or 0
    if length > answers.LARGEST_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=answers.LARGEST_BODY, actual_size=length)
    return await request.read()
