"""The webhook endpoints of Linq's older v2 API: subscriptions and phone numbers (https://docs.linqapp.com/v2/api).

The token is the same as the bearer token of v3. Unlike in v3, several subscriptions can have the same URL, and each
gets every event; the caller chooses the secret; and an update replaces the whole subscription, except for the secret
and `active`, which are kept if left out.
"""

from __future__ import annotations

import hmac
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from relay.core.json_text import parse_json, storable
from relay.linq.api.v2 import TOKEN_HEADER, VERSION
from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.api import validation
from relay.sandbox.api.v2_errors import V2Error, error_middleware_v2
from relay.sandbox.api.v3_errors import ApiError
from relay.sandbox.faults.api import fault_middleware
from relay.sandbox.state import SandboxState, V2Subscription, rfc3339

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from relay.sandbox.faults.models import ApiFailure

_RESPONSE_RATE = 1  # messages a second
_ID = "{id:[0-9]{1,18}}"


class V2Api:
    """The endpoints under `/v2`."""

    def __init__(self, state: SandboxState, token: str, *, allow_local: bool) -> None:
        """`allow_local` accepts plain http and private addresses; rejecting them by default is our choice, as in v3."""
        self._state = state
        self._token = token
        self._allow_local = allow_local
        self._last_id = 0

    def app(self) -> web.Application:
        """Return the API as an aiohttp application with its own error format."""
        app = web.Application(
            middlewares=[error_middleware_v2, fault_middleware(self._state.faults, _error_of), self._authorize]
        )
        app.router.add_get("/webhook_subscriptions", self.list)
        app.router.add_post("/webhook_subscriptions", self.create)
        app.router.add_put(f"/webhook_subscriptions/{_ID}", self.update)
        app.router.add_delete(f"/webhook_subscriptions/{_ID}", self.delete)
        app.router.add_get("/phone_numbers", self.phone_numbers)
        app.router.add_put(f"/phone_numbers/{_ID}", self.forward)
        return app

    @property
    def _authorize(self) -> Middleware:
        @web.middleware
        async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
            given = request.headers.get(TOKEN_HEADER, "").encode(errors="surrogateescape")
            if not hmac.compare_digest(given, self._token.encode()):
                raise V2Error(401, "Missing or invalid integration token")
            return await handler(request)

        return authorize

    async def list(self, _: web.Request) -> web.Response:
        """`GET /v2/webhook_subscriptions`: active and inactive subscriptions."""
        rows = [subscription.as_json() for subscription in self._state.v2_subscriptions.values()]
        return web.json_response({"webhook_subscriptions": rows})

    async def create(self, request: web.Request) -> web.Response:
        """`POST /v2/webhook_subscriptions`: 201, also for duplicates of an existing subscription."""
        fields = self._fields(await _object(request))
        self._last_id = max(self._last_id, *self._state.v2_subscriptions, 0) + 1
        subscription = V2Subscription(id=self._last_id, **fields)
        self._state.v2_subscriptions[subscription.id] = subscription
        return web.json_response({"webhook_subscription": subscription.as_json()}, status=201)

    async def update(self, request: web.Request) -> web.Response:
        """`PUT /v2/webhook_subscriptions/{id}`."""
        subscription = self._find(request)
        for name, value in self._fields(await _object(request)).items():
            setattr(subscription, name, value)
        subscription.updated_at = rfc3339(datetime.now(UTC))
        return web.json_response({"webhook_subscription": subscription.as_json()})

    async def delete(self, request: web.Request) -> web.Response:
        """`DELETE /v2/webhook_subscriptions/{id}`: 204; events stop at once."""
        del self._state.v2_subscriptions[self._find(request).id]
        return web.Response(status=204)

    async def phone_numbers(self, _: web.Request) -> web.Response:
        """`GET /v2/phone_numbers`."""
        return web.json_response({"phone_numbers": [self._number(line) for line in self._state.lines]})

    async def forward(self, request: web.Request) -> web.Response:
        """`PUT /v2/phone_numbers/{id}`: null or "" stops forwarding."""
        line = next((line for line in self._state.lines if line_id_v2(line) == int(request.match_info["id"])), None)
        if line is None:
            raise V2Error(403, "Phone number doesn't belong to your organization")
        body = await _object(request)
        if "forwarding_number" in body:
            try:
                number = validation.forwarding_number(body["forwarding_number"])
            except ApiError as error:
                raise V2Error(422, error.message) from None
            self._state.forwarding.pop(line, None)
            if number:
                self._state.forwarding[line] = number
        return web.json_response(self._number(line))

    def _number(self, line: str) -> dict[str, Any]:
        return {
            "id": line_id_v2(line),
            "phone_number": line,
            "forwarding_number": self._state.forwarding.get(line),
            "response_rate": _RESPONSE_RATE,
        }

    def _find(self, request: web.Request) -> V2Subscription:
        subscription = self._state.v2_subscriptions.get(int(request.match_info["id"]))
        if subscription is None:
            raise V2Error(404, "Webhook subscription not found")
        return subscription

    def _fields(self, body: dict[str, Any]) -> dict[str, Any]:
        """Validate `webhook_subscription` in the body and return its fields; all problems are reported at once."""
        given = body.get("webhook_subscription")
        if not isinstance(given, dict):
            raise V2Error(400, "webhook_subscription is required")
        problems = [f"{name} is required" for name in ("webhook_url", "version", "events") if name not in given]
        if "webhook_url" in given:
            problems += _problems_of_url(given["webhook_url"], allow_local=self._allow_local)
        if "version" in given and (isinstance(given["version"], bool) or given["version"] != VERSION):
            problems.append(f"version must be {VERSION}")
        if "events" in given:
            problems += _problems_of_events(given["events"])
        if "secret" in given and storable(given["secret"]) is None:
            problems.append("secret must be a string")
        if "active" in given and not isinstance(given["active"], bool):
            problems.append("active must be a boolean")
        if problems:
            raise V2Error(422, *problems)
        fields = {name: given[name] for name in ("webhook_url", "secret", "active") if name in given}
        return {**fields, "events": list(dict.fromkeys(given["events"]))}


def line_id_v2(line: str) -> int:
    """Return the id of a line in v2, the same in every sandbox."""
    return zlib.crc32(line.encode())


def _problems_of_url(url: object, *, allow_local: bool) -> list[str]:
    try:
        validation.target_url(url, allow_local=allow_local, field="webhook_url")
    except ApiError as error:
        return [error.message]
    return []


def _problems_of_events(events: object) -> list[str]:
    if not isinstance(events, list):
        return ["events must be a list of event types"]
    return [f"events contains an unknown event type: {event}" for event in events if event not in V2_TYPES]


def _error_of(failure: ApiFailure) -> V2Error:
    if failure.status == 429:
        return V2Error(429, "Rate limit exceeded", retry_after=failure.retry_after)
    return V2Error(failure.status, "Internal server error")


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = parse_json(await request.read())
    except ValueError:
        raise V2Error(400, "Request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise V2Error(400, "Request body must be a JSON object")
    return body
