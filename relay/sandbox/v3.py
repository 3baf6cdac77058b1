"""Linq's v3 API, as far as webhooks go: subscriptions, event types, phone numbers."""

from __future__ import annotations

import hmac
import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import HttpUrl, TypeAdapter, ValidationError
from pydantic_core import to_json

from relay.core.json_text import parse_json
from relay.core.lines import is_line
from relay.linq.api import KNOWN_EVENT_TYPES
from relay.sandbox.errors import invalid, malformed, missing, not_e164, not_found, taken, unauthorized
from relay.sandbox.state import SandboxState, Subscription, rfc3339

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_TARGET = TypeAdapter(HttpUrl)
_DOC = "https://docs.linqapp.com/channel/imessage/guides/webhooks/events"


class V3Api:
    """The endpoints under `/v3`."""

    def __init__(self, state: SandboxState, api_key: str, *, allow_local: bool) -> None:
        """`allow_local` takes plain http and private addresses, which Linq refuses."""
        self._state = state
        self._api_key = api_key
        self._allow_local = allow_local

    def app(self) -> web.Application:
        """The API as an application of its own, to stand under one that has `error_middleware`."""
        app = web.Application(middlewares=[self._authorize])
        app.router.add_get("/webhook-events", self.event_types)
        app.router.add_get("/phone_numbers", self.phone_numbers)
        app.router.add_get("/webhook-subscriptions", self.list)
        app.router.add_post("/webhook-subscriptions", self.create)
        app.router.add_get("/webhook-subscriptions/{id}", self.retrieve)
        app.router.add_put("/webhook-subscriptions/{id}", self.update)
        app.router.add_delete("/webhook-subscriptions/{id}", self.delete)
        return app

    @property
    def _authorize(self) -> Any:
        @web.middleware
        async def authorize(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self._api_key}".encode()):
                raise unauthorized()
            return await handler(request)

        return authorize

    async def event_types(self, _: web.Request) -> web.Response:
        """`GET /v3/webhook-events`."""
        return _json(200, {"events": KNOWN_EVENT_TYPES, "doc_url": _DOC})

    async def phone_numbers(self, _: web.Request) -> web.Response:
        """`GET /v3/phone_numbers`."""
        return _json(200, {"phone_numbers": self._state.phone_numbers()})

    async def list(self, _: web.Request) -> web.Response:
        """`GET /v3/webhook-subscriptions`: active and inactive ones."""
        return _json(200, {"subscriptions": [one.shown() for one in self._state.subscriptions.values()]})

    async def create(self, request: web.Request) -> web.Response:
        """`POST /v3/webhook-subscriptions`: 201, with the secret, this once."""
        body = await _object(request)
        for field in ("target_url", "subscribed_events"):
            if not body.get(field):
                raise missing(field)
        subscription = Subscription(
            target_url=self._target_url(body["target_url"], None),
            events=_events(body["subscribed_events"]),
            phone_numbers=_phone_numbers(body.get("phone_numbers")),
        )
        self._state.subscriptions[subscription.id] = subscription
        return _json(201, {**subscription.shown(), "signing_secret": subscription.secret.text})

    async def retrieve(self, request: web.Request) -> web.Response:
        """`GET /v3/webhook-subscriptions/{id}`."""
        return _json(200, self._one(request).shown())

    async def update(self, request: web.Request) -> web.Response:
        """`PUT /v3/webhook-subscriptions/{id}`: what is left out stays; null or [] removes the line filter."""
        subscription = self._one(request)
        body = await _object(request)
        changes: dict[str, Any] = {"updated_at": rfc3339(datetime.now(UTC))}
        if "target_url" in body:
            changes["target_url"] = self._target_url(body["target_url"], subscription)
        if "subscribed_events" in body:
            changes["events"] = _events(body["subscribed_events"])
        if "phone_numbers" in body:
            changes["phone_numbers"] = _phone_numbers(body["phone_numbers"])
        if "is_active" in body:
            changes["is_active"] = _flag(body["is_active"], "is_active")
        for name, value in changes.items():
            setattr(subscription, name, value)
        return _json(200, subscription.shown())

    async def delete(self, request: web.Request) -> web.Response:
        """`DELETE /v3/webhook-subscriptions/{id}`: 204; events stop at once."""
        del self._state.subscriptions[self._one(request).id]
        return web.Response(status=204)

    def _one(self, request: web.Request) -> Subscription:
        subscription = self._state.subscriptions.get(request.match_info["id"])
        if subscription is None:
            raise not_found()
        return subscription

    def _target_url(self, url: object, of: Subscription | None) -> str:
        try:
            target = _TARGET.validate_python(url)
        except ValidationError:
            raise invalid("target_url must be a valid HTTPS URL") from None
        if target.scheme != "https" and not self._allow_local:
            raise invalid("target_url must be a valid HTTPS URL")
        if not self._allow_local and _is_private(str(target.host).strip("[]")):
            raise invalid("target_url must not point to a private address")
        if any(other.target_url == url and other is not of for other in self._state.subscriptions.values()):
            raise taken()
        return str(url)


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{name} must be a boolean")
    return value


def _events(value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(event, str) for event in value):
        raise invalid("subscribed_events must be a list of event types")
    if unknown := [event for event in value if event not in KNOWN_EVENT_TYPES]:
        raise invalid(f"Unknown event type: {unknown[0]}")
    return list(dict.fromkeys(value))


def _phone_numbers(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid("phone_numbers must be a list")
    for number in value:
        if not is_line(number):
            raise not_e164(number)
    return value


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


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
