"""Messages: the life of one, joined from what the topics hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.services.topics.life import life
from relay.services.topics.life.summary import MessageState
from relay.web.api.filters import Text
from relay.web.api.models import Input, Moment, Output, moment, optional_moment
from relay.web.api.operation import Call, Tag, operation
from relay.web.api.resources.topics.events import CursorText
from relay.web.api.resources.topics.story import Place

if TYPE_CHECKING:
    from relay.services.topics.life.steps import Step
    from relay.services.topics.life.summary import Life

TAG = Tag("messages", "The life of a message: what became of it, joined from what topics hold.")


class MessagePath(Input):
    """The path of a message."""

    message: Text
    """Linq's id of the message."""


class LifeQuery(Input):
    """The continuation of a search."""

    cursor: CursorText | None = None
    """The `cursor` of the answer before, also of a 404."""


class StepHas(Output):
    """The state of a step's event at a push subscription or a pull group."""

    name: str
    """The subscription, or `GROUP of TOPIC`."""
    state: str
    """As in the story of the event."""


class LifeStep(Output):
    """An event in the life of a message."""

    kind: str
    """`sent`, `received`, `delivered`, `read`, `failed`, `edited`, `reaction added`, `reaction removed`, `reply`, or
    the event's type in words.
    """
    event: str
    """Linq's id of the event."""
    type: str
    at: Moment
    """When it happened, as the payload tells it, else when the relay accepted it."""
    routed: Moment
    """Time of routing."""
    by: str | None
    """The handle that did it; null if it is not known, or bodies are hidden."""
    detail: str | None
    """The code of a failure, the kind of a reaction, the part that was edited."""
    reply: str | None
    """The id of the message that replies."""
    is_history: bool
    """True if Linq recovered it later."""
    places: list[Place]
    """Its entries in the topics that you may read."""
    has: list[StepHas] | None
    """The push subscriptions and pull groups that you may see; null if there was no time to look."""


class MessageLife(Output):
    """The life of a message."""

    message: str
    state: MessageState
    """The state of the message, as far as its events tell."""
    direction: str | None
    service: str | None
    is_group: bool | None
    line: str | None
    chat: str | None
    reply_to: str | None
    """The id of the message that it replies to."""
    trace: str | None
    sent: Moment | None
    """When it was sent, as any of its events tells."""
    delivered: Moment | None
    """When it was delivered, as any of its events tells."""
    read: Moment | None
    """When it was read, as any of its events tells."""
    steps: list[LifeStep]
    """In the order of their times."""
    untaken: list[str]
    """Of message.delivered, message.read and message.failed, those that no topic that you may read takes."""
    notes: list[str]
    """The events that are missing, and the facts that are not known."""
    cursor: str | None
    """Continues the search for earlier steps; null if there are none."""
    searched_to: Moment | None
    """All that was routed since then was searched; null if all that can have a step was."""


@operation("GET", "/messages/{message}", tag=TAG, scope=Scope.READ)
async def get_message(call: Call, path: MessagePath, query: LifeQuery) -> MessageLife:
    """Tell the life of a message: sent, delivered, read, failed, edited, its reactions and replies.

    The topics that you may read are searched, newest first, back to its beginning. An answer with a `cursor`, also a
    404, had no time to search everything: ask again with it for earlier steps.
    """
    return answer_of(await life.life_of(call.context, call.principal, path.message, query.cursor))


def answer_of(found: Life) -> MessageLife:
    """Return a life as the API shows it."""
    facts = found.facts
    return MessageLife(
        message=found.message,
        state=found.state,
        direction=facts.direction,
        service=facts.service,
        is_group=facts.is_group,
        line=facts.line,
        chat=facts.chat,
        reply_to=facts.reply_to,
        trace=facts.trace,
        sent=optional_moment(facts.sent_ms),
        delivered=optional_moment(facts.delivered_ms),
        read=optional_moment(facts.read_ms),
        steps=[_step(step) for step in found.steps],
        untaken=list(found.untaken),
        notes=list(found.notes),
        cursor=found.cursor,
        searched_to=optional_moment(found.searched_to_ms),
    )


def _step(step: Step) -> LifeStep:
    return LifeStep(
        kind=step.kind,
        event=step.event,
        type=step.type,
        at=moment(step.at_ms),
        routed=moment(step.routed_ms),
        by=step.by,
        detail=step.detail,
        reply=step.reply,
        is_history=step.is_history,
        places=[Place.model_validate(place) for place in step.places],
        has=None if step.has is None else [StepHas(name=each.name, state=each.state) for each in step.has],
    )


OPERATIONS = (get_message,)
