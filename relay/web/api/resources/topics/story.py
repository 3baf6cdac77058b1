"""An event and its story, as the API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from relay.core.event import Freshness
from relay.services.topics.history.pull import PullState
from relay.services.topics.history.push import PushState
from relay.store.topics.record import Proof
from relay.web.api.models import Moment, Output, moment, optional_moment
from relay.web.api.resources.deliveries.attempts import Attempt, attempt_of

if TYPE_CHECKING:
    from relay.services.topics.history.push import PushPart
    from relay.services.topics.history.story import EventStory
    from relay.services.topics.history.view import EventView


class Place(Output):
    """An event's entry in a topic."""

    topic: str
    entry: str
    at: Moment = Field(validation_alias="at_ms")
    """Time of routing."""


class Event(Output):
    """An event."""

    id: str
    """Linq's id of the event."""
    type: str
    version: str
    line: str | None
    chat: str | None
    message: str | None
    direction: str | None
    service: str | None
    is_group: bool | None
    freshness: Freshness
    account: str | None
    source: Literal["backfill"] | None
    """`backfill` if the relay made it of a message at Linq, so that Linq did not sign it; otherwise null."""
    created: str | None
    """When Linq created it, as Linq wrote it."""
    trace: str | None
    webhook_id: str
    """The id of Linq's request."""
    at: Moment | None
    """When the relay accepted it; null if that is not known any more."""
    bytes: int
    """The size of its body."""
    body: str | None
    """The body as Linq signed it; null if bodies are hidden."""
    places: list[Place]
    """Its entries in the topics that you may read."""


class EventReceipt(Output):
    """The arrival of an event."""

    at: Moment = Field(validation_alias="at_ms")
    """When it was accepted."""
    address: str | None
    """IP address of the sender; null if it is not known."""
    url: str | None
    """Path and query at which it arrived."""
    secret: str | None
    """The generation of the secret that verified it."""
    proof: Proof | None
    """The proof of its line."""
    repeats: int | None
    """The number of times that it came again; null if it is not known any more."""
    last_repeat: Moment | None = Field(validation_alias="last_repeat_ms")
    """When it came again last; null if it did not, or that is not known."""


class TopicPart(Output):
    """An event in a topic, or why it is not there."""

    topic: str
    entry: str | None
    """Null if the topic does not hold it."""
    routed: Moment | None = Field(validation_alias="routed_ms")
    """Time of routing."""
    why_not: list[str]
    """The reasons why the topic does not have it."""


class DeadPart(Output):
    """The dead letter of an event."""

    id: str = Field(validation_alias="entry")
    """Its id within its subscription."""
    at: Moment = Field(validation_alias="at_ms")
    """Time of the last attempt."""
    reason: str
    """The reason why it is not attempted any more."""


class PushPartOfStory(Output):
    """An event at a push subscription."""

    subscription: str
    topic: str
    state: PushState
    """The state of the delivery."""
    attempts: list[Attempt]
    """The oldest first, replays as well."""
    next: Moment | None
    """Time of the next attempt."""
    dead: DeadPart | None
    """Its dead letter; null if it has none."""
    replays: int
    """The number of replays of it that wait."""
    replayed: bool
    """True if it was sent again."""
    notes: list[str]
    """The reasons why the subscription does not deliver now."""


class PullPartOfStory(Output):
    """An event at a pull group."""

    group: str
    topic: str
    state: PullState
    """The state of the event in the group."""
    member: str | None
    """The member that has it."""
    idle_ms: int | None
    """Time since that member got it, milliseconds."""
    deliveries: int | None
    """The number of times that a member got it."""
    reason: str | None
    """Why it is a dead letter."""


class Neighbour(Output):
    """The nearest event of the same chat."""

    id: str
    """Linq's id of the event."""
    type: str
    at: Moment = Field(validation_alias="at_ms")
    """When the relay accepted it."""


class Neighbours(Output):
    """The events around an event in its chat."""

    previous: Neighbour | None
    """The event before; null if there is none."""
    next: Neighbour | None
    """The event after; null if there is none."""
    searched_all: bool
    """False if there may be one that was not found."""


class Story(Output):
    """The story of an event."""

    event: Event
    """The event."""
    is_held: bool
    """False if no topic holds it any more: this is what subscriptions still have of it."""
    receipt: EventReceipt
    """Its arrival."""
    topics: list[TopicPart]
    """Each topic that you may read."""
    push: list[PushPartOfStory]
    """The push subscriptions of these topics that you may see, by name."""
    push_after: str | None
    """The `after` of the next part of the push subscriptions; null if these are the last."""
    pull: list[PullPartOfStory]
    """Each pull group of these topics that you may see."""
    chat: Neighbours
    """The events around it in its chat."""
    notes: list[str]
    """Facts that are not known any more."""


def event_of(view: EventView) -> Event:
    """Return an event as the API shows it."""
    return Event(
        id=view.id,
        type=view.type,
        version=view.version,
        line=view.line,
        chat=view.chat,
        message=view.message,
        direction=view.direction,
        service=view.service,
        is_group=view.is_group,
        freshness=view.freshness,
        account=view.account,
        source="backfill" if view.source else None,
        created=view.created,
        trace=view.trace,
        webhook_id=view.webhook_id,
        at=moment(view.at_ms) if view.at_ms else None,
        bytes=view.body.size,
        body=view.body.text,
        places=[Place.model_validate(place) for place in view.places],
    )


def _push(part: PushPart) -> PushPartOfStory:
    return PushPartOfStory(
        subscription=part.subscription,
        topic=part.topic,
        state=part.state,
        attempts=[attempt_of(found) for found in part.attempts],
        next=optional_moment(part.due_ms),
        dead=None if part.dead is None else DeadPart.model_validate(part.dead),
        replays=part.replays,
        replayed=part.replayed,
        notes=list(part.notes),
    )


def story_of(told: EventStory) -> Story:
    """Return a story as the API shows it."""
    return Story(
        event=event_of(told.event),
        is_held=told.is_held,
        receipt=EventReceipt.model_validate(told.receipt),
        topics=[TopicPart.model_validate(part) for part in told.topics],
        push=[_push(part) for part in told.push],
        push_after=told.push_after,
        pull=[PullPartOfStory.model_validate(part) for part in told.pull],
        chat=Neighbours.model_validate(told.chat),
        notes=list(told.notes),
    )
