"""The ingress as an aiohttp application: webhooks in every form that HTTP allows, and health checks."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from aiohttp import HttpVersion11, hdrs, web

from relay.store.driver.client import describe
from relay.web import responses
from relay.web.handed_over import connection_of, follow
from relay.web.health import probes
from relay.web.ingress import DIALECTS, Webhook

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from relay.web.health import Readiness
    from relay.web.ingress import Ingress
    from relay.web.responses import Probe, Response

log = structlog.get_logger()


def ingress_app(ingress: Ingress, readiness: Readiness) -> web.Application:
    """Return the application that Linq posts to."""

    async def receive(request: web.Request) -> web.Response:
        response = await _sent_later(request, await _receive(ingress, request))
        if not request.content.is_eof():
            response.force_close()  # the rest of its body would be read as the next request
        return response

    async def finish(request: web.Request, response: web.StreamResponse) -> None:
        """Record what aiohttp refuses by itself, and keep versions of the software to ourselves (a signal)."""
        response.headers.popall(hdrs.SERVER, None)
        if isinstance(response, web.HTTPException) and response.status >= HTTPStatus.BAD_REQUEST:
            delay = ingress.refuse_request(response.status, request.method, request.rel_url.raw_path, request.remote)
            await _wait(request, delay)

    app = web.Application(client_max_size=responses.MAX_BODY, middlewares=[web.middleware(follow)])
    app.on_response_prepare.append(finish)
    for path in DIALECTS:
        app.router.add_post(path, receive, expect_handler=_expect)
    for path, probe in probes(readiness).items():
        app.router.add_get(path, answering(probe), expect_handler=_expect)
    app.router.add_route("*", "/{path:.*}", _refuse, expect_handler=_expect)
    return app


async def _expect(request: web.Request) -> None:
    """Ask for the body of a request that waits to be asked. aiohttp's own fails if the header is not ASCII."""
    if request.version < HttpVersion11:
        return  # https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1: it is ignored
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    if request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _refuse(request: web.Request) -> web.StreamResponse:
    """Refuse a request that no other route has."""
    resources = request.app.router.resources()
    found = next((each for each in resources if each.canonical == request.rel_url.raw_path), None)
    if found is None:
        raise web.HTTPNotFound
    raise web.HTTPMethodNotAllowed(request.method, {route.method for route in found})


def answering(probe: Probe) -> Handler:
    """Return `probe` as a handler of aiohttp."""

    async def answer(_: web.Request) -> web.Response:
        response = await probe()
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    return answer


async def _receive(ingress: Ingress, request: web.Request) -> Response:
    url = request.rel_url
    webhook = Webhook.at(DIALECTS[url.path], url.raw_query_string, request.headers, request.remote)
    if not request.content.is_eof() and (refusal := ingress.refuse_early(webhook)):
        return refusal
    try:
        webhook.body = await _read(request)
    except web.HTTPRequestEntityTooLarge:
        return ingress.refuse_too_large(webhook)
    except (web.RequestPayloadError, ConnectionError) as error:
        ingress.interrupted(describe(error), webhook)
        return responses.internal_error()
    except Exception:
        log.exception("event.error", dialect=webhook.dialect, line=webhook.target.line)
        return ingress.fail()
    if connection := connection_of(request):
        connection.has_body()
    return await ingress.receive(webhook)


async def _read(request: web.Request) -> bytes:
    """Return the body; refuse one over the limit, by its Content-Length before it is sent if there is one."""
    length = request.content_length or 0
    if length > responses.MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=responses.MAX_BODY, actual_size=length)
    return await request.read()


async def _sent_later(request: web.Request, response: Response) -> web.Response:
    await _wait(request, response.delay)
    return web.Response(status=response.status, headers=response.headers, body=response.body)


async def _wait(request: web.Request, delay: float) -> None:
    """Wait before a delayed refusal, as a connection that may be closed meanwhile."""
    if delay:
        if connection := connection_of(request):
            connection.delay()
        await asyncio.sleep(delay)
