"""Account events: changes of lines, tokens, environments, subscriptions and team members.

All have the same shape: actor, object, old and new value. A field that does not apply is absent, `null` means "none"
inside `change`, and created and deleted objects carry no `change` (documented in the SDK). The type of the values is
not published for every event; where it is not, they have the type that the object has elsewhere.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.sandbox.payloads.scenario import Builder, Scenario

    Details = Callable[[Scenario], dict[str, Any]]

_PRODUCTION = {"name": "Production", "type": "environment"}
_STAGING = {"name": "Staging", "type": "environment"}
_FORWARDED_TO = "+12125550142"
_EVENTS = ("message.received", "message.sent")
_URL = "https://relay.example.org/webhooks/linq"
_ROUTING = {"routing_key_header": "X-Routing-Key", "routing_id_header": "Linq-Chat-Id"}
_TOKEN_LIFE = timedelta(days=90)

_MEMBER = {"type": "team_member", "id": "usr_31", "email": "ops@example.org", "name": "Ivo Brandt"}
_ORIGINS: dict[str, dict[str, Any]] = {
    "dashboard": {"origin": "dashboard", "actor": _MEMBER},
    "api": {"origin": "api", "actor": {"type": "api"}},
    "linq": {"origin": "linq", "actor": {"type": "system"}},
}


def _change(before: Any, after: Any) -> dict[str, Any]:
    return {"change": {"from": before, "to": after}}


def _line(scenario: Scenario) -> dict[str, Any]:
    return {"phone_number": scenario.line}


def _contact_card(scenario: Scenario) -> dict[str, Any]:
    return {**_line(scenario), "contact_card": {"id": scenario.id_of("contact card"), "first_name": "Support"}}


def _renamed_card(scenario: Scenario) -> dict[str, Any]:
    return {**_contact_card(scenario), "change": {"first_name": {"from": "Help", "to": "Support"}}}


def _token(scenario: Scenario, **more: Any) -> dict[str, Any]:
    token = {"id": scenario.id_of("token"), "token_prefix": "lq_3f9a", "name": "relay"}
    return {"api_token": {**token, **more}}


def _expiring_token(scenario: Scenario) -> dict[str, Any]:
    expires_at = rfc3339(scenario.occurred_at + _TOKEN_LIFE)
    return {**_token(scenario, expires_at=expires_at), **_change(None, expires_at)}


def _subscription(scenario: Scenario, **more: Any) -> dict[str, Any]:
    return {"webhook_subscription": {"id": scenario.id_of("subscription"), "target_url": _URL, **more}}


def _team_member(scenario: Scenario, **more: Any) -> dict[str, Any]:
    return {"team_member": {"id": scenario.id_of("team member"), "name": "Ivo Brandt", **more}}


_CHANGES: dict[str, tuple[str, str, Details]] = {
    "zero_day_retention.updated": (
        "dashboard",
        "Zero-day retention turned on",
        lambda scenario: {**_line(scenario), **_change(before=False, after=True)},
    ),
    "phone_number.forwarding_updated": (
        "api",
        "Forwarding number set",
        lambda scenario: {**_line(scenario), **_change(None, _FORWARDED_TO)},
    ),
    "environment.line_moved": (
        "dashboard",
        "Line moved to Staging",
        lambda scenario: {**_line(scenario), **_change(_PRODUCTION, _STAGING)},
    ),
    "contact_card.created": ("api", "Contact card created", _contact_card),
    "contact_card.updated": ("api", "Contact card updated", _renamed_card),
    "contact_card.deleted": ("dashboard", "Contact card deleted", _contact_card),
    "api_token.created": ("dashboard", "API token created", _token),
    "api_token.renamed": (
        "dashboard",
        "API token renamed",
        lambda scenario: {**_token(scenario), **_change("test", "relay")},
    ),
    "api_token.expiry_scheduled": ("dashboard", "API token expiry scheduled", _expiring_token),
    "api_token.expired": ("linq", "API token expired", lambda scenario: _token(scenario, expires_at=scenario.at)),
    "api_token.activated": ("dashboard", "API token activated", _token),
    "api_token.deleted": ("dashboard", "API token deleted", _token),
    "environment.created": ("dashboard", "Environment created", lambda _: {"environment": _STAGING}),
    "environment.renamed": (
        "dashboard",
        "Environment renamed",
        lambda _: {"environment": _STAGING, **_change("Test", "Staging")},
    ),
    "environment.deleted": (
        "dashboard",
        "Environment deleted",
        lambda _: {"environment": _STAGING, "tokens_revoked": 1, "lines_moved_to_production": 2},
    ),
    "webhook_subscription.created": (
        "api",
        "Webhook subscription created",
        lambda scenario: _subscription(scenario, events=list(_EVENTS)),
    ),
    "webhook_subscription.deleted": ("api", "Webhook subscription deleted", _subscription),
    "webhook_subscription.target_url_changed": (
        "api",
        "Webhook subscription URL changed",
        lambda scenario: {**_subscription(scenario), **_change(f"{_URL}/old", _URL)},
    ),
    "webhook_subscription.enabled": ("api", "Webhook subscription enabled", _subscription),
    "webhook_subscription.disabled": ("linq", "Webhook subscription disabled", _subscription),
    "webhook_subscription.events.updated": (
        "api",
        "Webhook subscription events updated",
        lambda scenario: {**_subscription(scenario), **_change(list(_EVENTS[:1]), list(_EVENTS))},
    ),
    "webhook_subscription.phone_numbers.updated": (
        "api",
        "Webhook subscription phone numbers updated",
        lambda scenario: {**_subscription(scenario), **_change(None, [scenario.line])},
    ),
    "webhook_subscription.routing_headers_set": (
        "api",
        "Webhook subscription routing headers set",
        lambda scenario: {**_subscription(scenario), **_change(None, _ROUTING)},
    ),
    "webhook_subscription.routing_headers_cleared": (
        "api",
        "Webhook subscription routing headers cleared",
        lambda scenario: {**_subscription(scenario), **_change(_ROUTING, None)},
    ),
    "team_member.added": ("dashboard", "Team member added", lambda scenario: _team_member(scenario, role="member")),
    "team_member.signed_in": (
        "dashboard",
        "Team member signed in",
        lambda scenario: {**_team_member(scenario), "method": "code"},
    ),
    "team_member.signed_out": ("dashboard", "Team member signed out", _team_member),
}
"""Origin, summary on the Activity page, and builder of the object and its change, by event type."""


def _account(event_type: str, scenario: Scenario, _: str) -> dict[str, Any]:
    origin, summary, details = _CHANGES[event_type]
    return {"summary": summary, "occurred_at": scenario.at, **_ORIGINS[origin], **details(scenario)}


BUILDERS: dict[str, Builder] = dict.fromkeys(_CHANGES, _account)
