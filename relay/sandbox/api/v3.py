"""The webhook endpoints of Linq's v3 API: subscriptions, event types, phone numbers."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic_core import to_json

from relay.core.json_text import parse_json
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.sandbox.api import validation
from relay.sandbox.api.v3_chats import V3Chats
from relay.sandbox.api.v3_errors import (
    duplicate_target_url,
    foreign,
    internal_error,
    malformed,
    missing_field,
    not_found,
    not_your_line,
    rate_limited,
    unauthorized,
    unknown_line,
)
from relay.sandbox.events import account_changes
from relay.sandbox.faults.api import fault_middleware
from relay.sandbox.state import SandboxState, Subscription, line_id, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp.typedefs import Handler, Middleware

    from relay.sandbox.api.v3_errors import ApiError
    from relay.sandbox.events.emit import Emission
    from relay.sandbox.faults.models import ApiFailure
    from relay.sandbox.history import History

_ACCOUNT = web.RequestKey("account", str)
"""Key of the account of a request: its API key, or empty for the first one."""

_DOC = "https://docs.linqapp.com/channel/imessage/guides/webhooks/events"


class V3Api:
    """The endpoints under `/v3`."""

    def __init__(
        self,
        state: SandboxState,
        history: History,
        api_key: str,
        emit: Callable[[Emission], object],
        *,
        allow_local: bool,
    ) -> None:
        """`emit` sends the account events of changes; `allow_local` accepts plain http and private addresses."""
        self._state = state
        self._chats = V3Chats(state, history)
        self._emit = emit
        self._api_key = api_key
        self._allow_local = allow_local

    def app(self) -> web.Application:
        """Return the API as an aiohttp application, to be mounted below `error_middleware`."""
        app = web.Application(middlewares=[fault_middleware(self._state.faults, _error_of), self._authorize])
        app.router.add_get("/webhook-events", self.event_types)
        app.router.add_get("/phone_numbers", self.phone_numbers)
        app.router.add_put("/phone_numbers/{id}", self.forward)
        app.router.add_get("/phonenumbers", self.phonenumbers)
        app.router.add_get("/webhook-subscriptions", self.list)
        app.router.add_post("/webhook-subscriptions", self.create)
        app.router.add_get("/webhook-subscriptions/{id}", self.retrieve)
        app.router.add_put("/webhook-subscriptions/{id}", self.update)
        app.router.add_delete("/webhook-subscriptions/{id}", self.delete)
        app.add_routes(self._chats.routes())
        return app

    @property
    def _authorize(self) -> Middleware:
        @web.middleware
        async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            given = token.strip(" ").encode(errors="surrogateescape")
            keys = {self._api_key: "", **{key: key for key in self._state.accounts}}
            account = next((name for key, name in keys.items() if hmac.compare_digest(given, key.encode())), None)
            # The scheme is case-insensitive (RFC 9110, 11.1).
            if scheme.lower() != "bearer" or account is None:
                raise unauthorized()
            request[_ACCOUNT] = account
            return await handler(request)

        return authorize

    async def event_types(self, _: web.Request) -> web.Response:
        """`GET /v3/webhook-events`."""
        return _json(200, {"events": KNOWN_EVENT_TYPES, "doc_url": _DOC})

    async def phone_numbers(self, request: web.Request) -> web.Response:
        """`GET /v3/phone_numbers`."""
        return _json(200, {"phone_numbers": self._state.phone_numbers(request[_ACCOUNT])})

    async def phonenumbers(self, request: web.Request) -> web.Response:
        """`GET /v3/phonenumbers`, the deprecated list."""
        capabilities = {"sms": True, "mms": True, "voice": True}
        rows = [
            {
                "id": line_id(line),
                "phone_number": line,
                "capabilities": capabilities,
                "country_code": None,
                "type": None,
            }
            for line in self._state.lines_of(request[_ACCOUNT])
        ]
        return _json(200, {"phone_numbers": rows})

    async def forward(self, request: web.Request) -> web.Response:
        """`PUT /v3/phone_numbers/{id}`: null or "" stops forwarding."""
        lines = self._state.lines_of(request[_ACCOUNT])
        line = next((line for line in lines if line_id(line) == request.match_info["id"]), None)
        if line is None:
            raise unknown_line()
        body = await _object(request)
        if "forwarding_number" not in body:
            raise missing_field("forwarding_number")
        number = validation.forwarding_number(body["forwarding_number"])
        before = self._state.forwarding.pop(line, None)
        if number:
            self._state.forwarding[line] = number
        if number != before:
            self._emit(account_changes.forwarded(line, before, number))
        return _json(200, {"id": line_id(line), "phone_number": line, "forwarding_number": number})

    async def list(self, request: web.Request) -> web.Response:
        """`GET /v3/webhook-subscriptions`: active and inactive subscriptions."""
        there = self._subscriptions(request[_ACCOUNT])
        return _json(200, {"subscriptions": [subscription.as_json() for subscription in there]})

    async def create(self, request: web.Request) -> web.Response:
        """`POST /v3/webhook-subscriptions`: 201, the only response with the secret."""
        body = await _object(request)
        for field in ("target_url", "subscribed_events"):
            if not body.get(field):
                raise missing_field(field)
        account = request[_ACCOUNT]
        subscription = Subscription(**{"phone_numbers": [], **self._fields(body, None, account)}, account=account)
        self._state.subscriptions[subscription.id] = subscription
        self._emit(account_changes.created(subscription))
        return _json(201, {**subscription.as_json(), "signing_secret": subscription.secret.text})

    async def retrieve(self, request: web.Request) -> web.Response:
        """`GET /v3/webhook-subscriptions/{id}`."""
        return _json(200, self._find(request).as_json())

    async def update(self, request: web.Request) -> web.Response:
        """`PUT /v3/webhook-subscriptions/{id}`: fields that are left out are kept.

        null or [] removes the line filter. null or "" as routing_key_header disables delivery affinity and deletes its
        tokens; as routing_id_header, it restores the default.
        """
        subscription = self._find(request)
        body = await _object(request)
        fields = self._fields(body, subscription, request[_ACCOUNT])
        if "is_active" in body:
            fields["is_active"] = validation.flag(body["is_active"], "is_active")
        before = subscription.as_json()
        for name, value in fields.items():
            setattr(subscription, name, value)
        subscription.updated_at = rfc3339(datetime.now(UTC))
        if subscription.routing_key_header is None:
            subscription.tokens.clear()
        for change in account_changes.updated(before, subscription):
            self._emit(change)
        return _json(200, subscription.as_json())

    async def delete(self, request: web.Request) -> web.Response:
        """`DELETE /v3/webhook-subscriptions/{id}`: 204; events stop at once."""
        subscription = self._find(request)
        del self._state.subscriptions[subscription.id]
        self._emit(account_changes.deleted(subscription))
        return web.Response(status=204)

    def _find(self, request: web.Request) -> Subscription:
        subscription_id = request.match_info["id"]
        if subscription_id in self._state.foreign:
            raise foreign()
        subscription = self._state.subscriptions.get(subscription_id)
        if subscription is None:
            raise not_found()
        if subscription.account != request[_ACCOUNT]:
            raise foreign()
        return subscription

    def _subscriptions(self, account: str) -> Iterator[Subscription]:
        return (each for each in self._state.subscriptions.values() if each.account == account)

    def _fields(self, body: dict[str, Any], current: Subscription | None, account: str) -> dict[str, Any]:
        """Validate the fields in `body` and return them; `current` is the updated subscription, None for a new one."""
        fields: dict[str, Any] = {}
        if "target_url" in body:
            fields["target_url"] = validation.target_url(body["target_url"], allow_local=self._allow_local)
        if "subscribed_events" in body:
            fields["events"] = validation.events(body["subscribed_events"])
        if "phone_numbers" in body:
            numbers = fields["phone_numbers"] = validation.phone_numbers(body["phone_numbers"])
            known = {*self._state.lines_of(account), *(current.phone_numbers if current else ())}
            if not known.issuperset(numbers):
                raise not_your_line()
        for name in ("routing_key_header", "routing_id_header"):
            if name in body:
                fields[name] = validation.header_name(body[name], name)
        others = {other.target_url for other in self._subscriptions(account) if other is not current}
        if fields.get("target_url") in others:
            raise duplicate_target_url()
        return fields


def _error_of(failure: ApiFailure) -> ApiError:
    return rate_limited(failure.retry_after) if failure.status == 429 else internal_error(failure.status)


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = parse_json(await request.read())
    except ValueError:
        raise malformed("Request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise malformed("Request body must be a JSON object")
    return body


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=to_json(value), content_type="application/json")
