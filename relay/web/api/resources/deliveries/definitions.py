"""Subscriptions made by the API: creating, changing, deleting and testing them, and rotating their secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, JsonValue, WithJsonSchema

from relay.core.access.scopes import Scope
from relay.core.config.fields import NAME, Name
from relay.services.deliveries import stored_subscriptions, subscriptions
from relay.web.api.models import DurationText, Input, Moment, Output, Reason, Why
from relay.web.api.operation import Call, Versions, operation
from relay.web.api.resources.deliveries.subscriptions import TAG, SubscriptionPath

if TYPE_CHECKING:
    from relay.services.deliveries.stored_subscriptions import Changed

_DAY = 86_400.0

Secret = Annotated[str, Field(min_length=1, max_length=200)]


class SubscriptionDefinition(Output):
    """A subscription that was made by the API."""

    name: str
    """Its name."""
    team: str | None
    """The team that owns it; null if operators do."""
    topic: str
    url: str
    """Without the values of its query."""
    settings: dict[str, JsonValue] = Field(validation_alias="table")
    """The other keys of its table, as relay.toml would have them; values of `headers` and `auth` are `***`."""
    secret_ends: list[Moment | None]
    """The end of each signing secret that is valid now, newest first; null for one that stays."""
    version: int
    """Increased by every change; it is the ETag."""
    created_at: Moment
    """When it was made."""
    created_by: str
    """The name of who made it."""
    changed_at: Moment
    """When it was last changed."""
    changed_by: str
    """The name of who changed it last."""
    unusable: str | None
    """The reason why it is not in force; null if it is."""


class SubscriptionWithSecret(SubscriptionDefinition):
    """A subscription with the signing secret that was made for it."""

    secret: str | None
    """It cannot be read again; null if you gave one."""


class SubscriptionDraft(Input):
    """A subscription to create: a `[[subscriptions]]` table of relay.toml, with literal values.

    The other keys are those of the table (configuration.md), such as `timeout`, `headers`, `events` or `order`.
    """

    model_config = ConfigDict(extra="allow")

    name: Annotated[Any, WithJsonSchema({"type": "string", "pattern": NAME})]  # checked with the other keys
    """Its name, unique among all subscriptions."""
    topic: Name | None = None
    """The topic that is delivered to it; only a shadow (`shadow_of`) has none of its own."""
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    """The URL to which its events are sent, http or https."""
    team: Name | None = None
    """A team's token makes those of its own team."""
    secret: Secret | None = None
    """The signing secret; without it, one is made and shown once."""


class SubscriptionPatch(Input):
    """New values of keys, and null for keys to remove (RFC 7396)."""

    model_config = ConfigDict(extra="allow")

    topic: Name | None = None
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """The URL to which its events are sent, http or https."""


class Note(Input):
    """The reason of a change."""

    why: Why | None = None


class SecretRotation(Input):
    """A new signing secret."""

    overlap: DurationText = _DAY
    """The time for which the former secrets sign as well."""
    secret: Secret | None = None
    """The new one; without it, one is made and shown once."""


class SubscriptionTest(Input):
    """A test of a subscription."""

    type: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The type of the sample event; without it, one that the subscription gets."""
    why: Why | None = None


class SentTest(Output):
    """A sample event that was given to a subscription."""

    subscription: str
    event: str = Field(validation_alias="event_id")
    """Its attempts are found by it: `GET /attempts?event=...`."""
    type: str = Field(validation_alias="event_type")
    line: str | None
    waits_for: str
    """The reason why it is not sent at once; empty if it is."""


class DropQuery(Input):
    """Options of dropping what a subscription has left."""

    why: Why
    even_with_events: bool = False
    """Drop events that were not delivered, too."""


class DroppedLane(Output):
    """The result of dropping what a subscription has left."""

    events: int
    """The number of events that are lost."""


@operation(
    "GET", "/subscriptions/{subscription}/definition", tag=TAG, scope=Scope.READ, versions=Versions.SHOWN, errors={409}
)
async def get_definition(call: Call, path: SubscriptionPath) -> SubscriptionDefinition:
    """Get the table of a subscription that was made by the API, without its secrets."""
    return SubscriptionDefinition.model_validate(
        await stored_subscriptions.find(call.context, call.principal, path.subscription)
    )


@operation(
    "POST",
    "/subscriptions",
    tag=TAG,
    scope=Scope.SUBSCRIBE,
    status=201,
    versions=Versions.SHOWN,
    idempotent=True,
)
async def create_subscription(call: Call, query: Note, body: SubscriptionDraft) -> SubscriptionWithSecret:
    """Create a subscription.

    Workers deliver to it within seconds. Events that are routed from now on wait for it.
    """
    table = _given(body)
    made = await stored_subscriptions.create(call.context, call.principal, table, query.why or "")
    return _with_secret(made)


@operation(
    "PATCH",
    "/subscriptions/{subscription}",
    tag=TAG,
    scope=Scope.SUBSCRIBE,
    versions=Versions.CHECKED,
    errors={409, 429},
)
async def change_subscription(
    call: Call, path: SubscriptionPath, query: Note, body: SubscriptionPatch
) -> SubscriptionDefinition:
    """Change keys of a subscription that was made by the API."""
    changed = await stored_subscriptions.change(
        call.context, call.principal, path.subscription, _given(body), call.version, query.why or ""
    )
    return SubscriptionDefinition.model_validate(changed.state)


@operation(
    "POST",
    "/subscriptions/{subscription}/rotate-secret",
    tag=TAG,
    scope=Scope.SUBSCRIBE,
    versions=Versions.CHECKED,
    idempotent=True,
)
async def rotate_subscription_secret(
    call: Call, path: SubscriptionPath, body: SecretRotation
) -> SubscriptionWithSecret:
    """Replace the signing secret; for a while the former ones sign as well."""
    rotated = await stored_subscriptions.rotate_secret(
        call.context, call.principal, path.subscription, body.overlap, call.version, body.secret
    )
    return _with_secret(rotated)


@operation("POST", "/subscriptions/{subscription}/test", tag=TAG, scope=Scope.SUBSCRIBE, idempotent=True)
async def test_subscription(call: Call, path: SubscriptionPath, body: SubscriptionTest) -> SentTest:
    """Send a sample event to a subscription, marked as a test."""
    sent = await stored_subscriptions.send_test(
        call.context, call.principal, path.subscription, body.type, body.why or ""
    )
    return SentTest.model_validate(sent)


@operation(
    "DELETE",
    "/subscriptions/{subscription}",
    tag=TAG,
    scope=Scope.SUBSCRIBE,
    versions=Versions.CHECKED,
    errors={409},
)
async def delete_subscription(call: Call, path: SubscriptionPath, query: Reason) -> None:
    """Delete a subscription that was made by the API.

    What waits for it, and its dead letters, stay until an operator drops them.
    """
    await stored_subscriptions.delete(call.context, call.principal, path.subscription, query.why, call.version)


@operation(
    "DELETE",
    "/subscriptions/{subscription}/events",
    tag=TAG,
    scope=Scope.SUBSCRIBE,
    operators_only=True,
    errors={409},
)
async def drop_events_of_subscription(call: Call, path: SubscriptionPath, query: DropQuery) -> DroppedLane:
    """Drop what a subscription has left that the rules no longer have: waiting events, dead letters and attempts."""
    lost = await subscriptions.drop(
        call.context, call.principal, path.subscription, query.why, even_with_events=query.even_with_events
    )
    return DroppedLane(events=lost)


def _given(body: Input) -> dict[str, Any]:
    """Return the keys that were given, with their values as they were given."""
    return body.model_dump(exclude_unset=True)


def _with_secret(changed: Changed) -> SubscriptionWithSecret:
    definition = SubscriptionDefinition.model_validate(changed.state)
    return SubscriptionWithSecret.model_construct(**dict(definition), secret=changed.secret)


OPERATIONS = (
    get_definition,
    create_subscription,
    change_subscription,
    rotate_subscription_secret,
    test_subscription,
    delete_subscription,
    drop_events_of_subscription,
)
