"""The API as an aiohttp application: one route for each operation, its document and its page."""

from __future__ import annotations

import re
import time
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import hdrs, web

from relay.net.http_listener import is_disconnected
from relay.services.account.tokens import authenticate
from relay.web.api.guards.authentication import Authentication
from relay.web.api.guards.idempotency import REPLAYED, Answer, Claim, claimed
from relay.web.api.guards.rates import Rates
from relay.web.api.inputs import read_inputs
from relay.web.api.openapi import REQUEST_ID, document_text
from relay.web.api.operation import EVENT_STREAM, JSON, JSON_LINES, Call, Versions, shows_version
from relay.web.api.operations import OPERATIONS
from relay.web.api.problems import MAX_BODY, ApiProblem, FieldError, http_problem, problem_of, respond
from relay.web.api.reference.page import add_reference
from relay.web.api.schemas.served import add_asyncapi
from relay.web.api.streams import add_streams
from relay.web.handed_over import read_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aiohttp.typedefs import Handler

    from relay.services.context import Context
    from relay.web.api.guards.authentication import Authenticate
    from relay.web.api.operation import Operation

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VERSION = re.compile(r'(?:W/)?"(\d{1,18})"|(\d{1,18})')  # a proxy that compresses makes ETags weak
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_id_key = web.RequestKey("request_id", str)

log = structlog.get_logger()


def api_app(context: Context) -> web.Application:
    """Return the application of the API, for `/api/v1` of the admin listener."""
    return app_of(context, OPERATIONS, authenticate)


def app_of(
    context: Context,
    operations: Sequence[Operation],
    bearer_of: Authenticate,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """Return the application of `operations`; `bearer_of` knows tokens, and `clock` returns seconds, for the rates."""
    api = _Api(context, Authentication(bearer_of, clock), Rates(context.settings.relay_api_rate, clock))
    app = web.Application(client_max_size=2 * MAX_BODY, middlewares=[_problems])
    app.on_response_prepare.append(_add_headers)
    add_streams(app, context)
    for operation in operations:
        app.router.add_route(operation.method, operation.path, api.route(operation, operations))

    add_reference(app, tuple(operations))

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=document_text(tuple(operations)).encode(), content_type=JSON)

    app.router.add_route("GET", "/openapi.json", openapi)
    add_asyncapi(app)
    return app


class _Api:
    """The way of a request to its operation, and of the result back."""

    def __init__(self, context: Context, authentication: Authentication, rates: Rates) -> None:
        self._context = context
        self._authentication = authentication
        self._rates = rates

    def route(self, operation: Operation, operations: Sequence[Operation]) -> Handler:
        """Return the handler of an operation's route."""

        async def handle(request: web.Request) -> web.StreamResponse:
            renew = partial(self._authentication.principal, self._context, request)
            principal = await renew()
            self._rates.take(principal)
            if operation.is_for_operators and operation.scope is not None:
                principal.require_operator(operation.scope)
            elif operation.scope is not None:
                principal.require(operation.scope)
            await _read_body(request)
            inputs = await read_inputs(operation, request)
            call = Call(self._context, principal, request, renew, _version(operation, request, operations))
            if operation.takes_idempotency_key:
                return await self._once(operation, call, inputs)
            result = await operation.handler(call, **inputs)
            if isinstance(result, web.StreamResponse):
                return result
            if operation.media_type == JSON_LINES:
                return await _stream_lines(operation, request, result)
            return _response(_answer(operation, result))

        return handle

    async def _once(self, operation: Operation, call: Call, inputs: dict[str, Any]) -> web.StreamResponse:
        """Do a request, or answer it as before if it is a repeat."""
        claim = await claimed(self._context.redis, call.request, call.principal)
        if isinstance(claim, Answer):
            response = _response(claim)
            response.headers[REPLAYED] = "true"
            return response
        try:
            answer = _answer(operation, await operation.handler(call, **inputs))
        except Exception as error:
            if isinstance(claim, Claim) and problem_of(error) is not None:
                await claim.release()
            raise  # a mistake of ours leaves the key claimed: something may have been done
        if isinstance(claim, Claim):
            await claim.keep(answer)
        return _response(answer)


async def _read_body(request: web.Request) -> None:
    """Read the body, up to the limit of the API; aiohttp has only that of the outermost application."""
    if (request.content_length or 0) > MAX_BODY or len(await read_body(request)) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY)


def _version(operation: Operation, request: web.Request, operations: Sequence[Operation]) -> int | None:
    """Return the version in If-Match."""
    if operation.versions is not Versions.CHECKED:
        return None
    given = request.headers.get(hdrs.IF_MATCH)
    if given is None:
        shown = shows_version(operation, operations)
        raise ApiProblem(428, f'send If-Match with the ETag that {shown} has, such as If-Match: "3"')
    if given.strip() == "*":
        return None
    if match := _VERSION.fullmatch(given.strip()):
        return int(match[1] or match[2])
    if _ETAG.fullmatch(given.strip()):
        raise ApiProblem(412, f"no version has the ETag {given[:40]}; {shows_version(operation, operations)} shows it")
    message = 'write one version in quotation marks, such as If-Match: "3", or *'
    raise ApiProblem(400, f"{message}, not {given[:40]}", FieldError(field=hdrs.IF_MATCH, message=message))


def _answer(operation: Operation, result: Any) -> Answer:
    body = operation.result.dump_json(result, by_alias=True) if operation.result is not None else b""
    version = getattr(result, "version", None) if operation.versions is not Versions.NONE else None
    etag = None if version is None else f'"{version}"'
    return Answer(operation.status, body, etag)


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body or None)
    if answer.body:
        response.content_type = JSON
    if answer.etag is not None:
        response.headers[hdrs.ETAG] = answer.etag
    return response


async def _stream_lines(operation: Operation, request: web.Request, lines: AsyncIterator[Any]) -> web.StreamResponse:
    """Send each line as soon as it is there."""
    assert operation.result is not None  # noqa: S101  an operation with lines has their form
    response = web.StreamResponse()
    response.content_type = JSON_LINES
    await response.prepare(request)
    async for line in lines:
        await response.write(operation.result.dump_json(line, by_alias=True) + b"\n")
    await response.write_eof()
    return response


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, and answer every error with problem details (middleware)."""
    given = request.headers.get(REQUEST_ID, "")
    request[_id_key] = given if _GIVEN_ID.fullmatch(given) else token_hex(12)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = respond(http_problem(error), request[_id_key])
    except Exception as error:
        if isinstance(error, ConnectionError) and is_disconnected(request):
            raise
        problem = problem_of(error)
        if problem is None:
            log.exception("api.error", method=request.method, path=request.path, request_id=request[_id_key])
            problem = ApiProblem(500, f"the relay made a mistake; its log has the cause, under {request[_id_key]}")
        response = respond(problem, request[_id_key])
    if not request.content.is_eof():
        response.force_close()  # the rest of its body would be read as the next request
    return response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add what every response has (a signal)."""
    response.headers[REQUEST_ID] = request.get(_id_key, "")
    if response.content_type == EVENT_STREAM:
        response.headers[hdrs.CACHE_CONTROL] = "no-store"  # aiohttp-sse has no-cache, which lets a proxy keep it
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
