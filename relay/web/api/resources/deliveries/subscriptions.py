"""Push subscriptions: their state, pausing and resuming."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name
from relay.services.deliveries import subscriptions
from relay.services.deliveries.subscriptions import State
from relay.web.api.models import Input, Moment, Output, Page, Paging, Reason
from relay.web.api.operation import Call, Tag, operation

TAG = Tag("subscriptions", "Push subscriptions: who gets the events of a topic, and how that goes.")


StateName = Annotated[State, WithJsonSchema({"type": "string", "enum": [str(state) for state in State]})]


class SubscriptionPath(Input):
    """The path of a subscription."""

    subscription: Name


class SubscriptionState(Output):
    """The state of a push subscription."""

    name: str
    """Its name."""
    topic: str | None
    """Its topic; of a removed one, the last that it read."""
    team: str | None
    """The team that owns it; null if operators do."""
    state: StateName
    """`delivering`, or why it is not delivered to."""
    why: str
    """The reason of the state; empty if there is none."""
    since: Moment | None = Field(validation_alias="since_ms")
    """The start of the pause or of the open breaker."""
    next_probe: Moment | None = Field(validation_alias="next_probe_ms")
    """The next attempt while the breaker is open."""
    waiting: int
    """Events without a finished attempt."""
    retrying: int
    """Events that wait for their next attempt."""
    dead: int
    """Dead letters."""
    discarded: int
    """Dead letters that were deleted beyond the bounds of the subscription."""
    delivered: int
    """Events that it accepted."""
    last_success: Moment | None = Field(validation_alias="last_success_ms")
    """Time of the last delivery; null if there was none."""
    is_exact: bool
    """False if `waiting` is an estimate."""
    shadow_of: str | None
    """The subscription that it shadows, whose deliveries it gets too; null if it is no shadow."""


class Look(Input):
    """The depth of looking at a subscription."""

    exact: bool = False
    """Count what waits where Redis's own number is in doubt."""


@operation("GET", "/subscriptions", tag=TAG, scope=Scope.READ)
async def list_subscriptions(call: Call, query: Paging) -> Page[SubscriptionState]:
    """List the subscriptions that you may see."""
    page = await subscriptions.search(call.context, call.principal, query.cursor, query.limit)
    states = [SubscriptionState.model_validate(state, from_attributes=True) for state in page.items]
    return Page[SubscriptionState](items=states, next=page.next)


@operation("GET", "/subscriptions/{subscription}", tag=TAG, scope=Scope.READ)
async def get_subscription(call: Call, path: SubscriptionPath, query: Look) -> SubscriptionState:
    """Get the state of a subscription."""
    return await _state(call, path.subscription, is_exact=query.exact)


@operation("POST", "/subscriptions/{subscription}/pause", tag=TAG, scope=Scope.SUBSCRIBE)
async def pause_subscription(call: Call, path: SubscriptionPath, body: Reason) -> SubscriptionState:
    """Stop delivering to a subscription.

    Its events wait. Pausing one that is paused changes nothing.
    """
    await subscriptions.pause(call.context, call.principal, path.subscription, body.why)
    return await _state(call, path.subscription)


@operation("POST", "/subscriptions/{subscription}/resume", tag=TAG, scope=Scope.SUBSCRIBE, errors={409})
async def resume_subscription(call: Call, path: SubscriptionPath, body: Reason) -> SubscriptionState:
    """Deliver to a subscription again.

    What relay.toml pauses (`paused = true`) cannot be resumed here.
    """
    await subscriptions.resume(call.context, call.principal, path.subscription, body.why)
    return await _state(call, path.subscription)


async def _state(call: Call, name: str, *, is_exact: bool = False) -> SubscriptionState:
    state = await subscriptions.get_state(call.context, call.principal, name, is_exact=is_exact)
    return SubscriptionState.model_validate(state)


OPERATIONS = (list_subscriptions, get_subscription, pause_subscription, resume_subscription)
