"""The ingress as an aiohttp application: webhooks in every form that HTTP allows, and health checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from relay.store.driver.client import describe
from relay.web import responses
from relay.web.handed_over import connection_of, follow
from relay.web.health import add_health
from relay.web.ingress import DIALECTS, Webhook, log_interrupted

if TYPE_CHECKING:
    from relay.web.health import Readiness
    from relay.web.ingress import Ingress
    from relay.web.responses import Response

log = structlog.get_logger()


def ingress_app(ingress: Ingress, readiness: Readiness) -> web.Application:
    """Return the application that Linq posts to."""

    async def receive(request: web.Request) -> web.Response:
        response = _response(await _receive(ingress, request))
        if not request.content.is_eof():
            response.force_close()  # the rest of its body would be read as the next request
        return response

    app = web.Application(client_max_size=responses.MAX_BODY, middlewares=[follow])
    for path in DIALECTS:
        app.router.add_post(path, receive)
    add_health(app, readiness)
    return app


async def _receive(ingress: Ingress, request: web.Request) -> Response:
    url = request.rel_url
    webhook = Webhook.at(DIALECTS[url.path], url.raw_query_string, request.headers, request.remote)
    if not request.content.is_eof() and (refusal := ingress.refuse_early(webhook)):
        return refusal
    try:
        webhook.body = await _read(request)
    except web.HTTPRequestEntityTooLarge:
        return responses.too_large()
    except (web.RequestPayloadError, ConnectionError) as error:
        log_interrupted(describe(error), webhook)
        return responses.internal_error()
    except Exception:
        log.exception("event.error", dialect=webhook.dialect, line=webhook.target.line)
        return responses.internal_error()
    if connection := connection_of(request):
        connection.has_body()
    return await ingress.receive(webhook)


async def _read(request: web.Request) -> bytes:
    """Return the body; refuse one over the limit, by its Content-Length before it is sent if there is one."""
    length = request.content_length or 0
    if length > responses.MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=responses.MAX_BODY, actual_size=length)
    return await request.read()


def _response(response: Response) -> web.Response:
    return web.Response(status=response.status, headers=response.headers, body=response.body)
