"""Tails: the events of a topic as they come, for people who watch and for `relay listen`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.config.fields import Pattern
from relay.services.topics.pull.listen_secret import listen_secret
from relay.services.topics.pull.tail import Tail, tail
from relay.web.api.filters import HandleText, LineText
from relay.web.api.models import DurationText, Input, Output
from relay.web.api.operation import EVENT_STREAM, Call, operation
from relay.web.api.resources.pull import TAG, TopicPath
from relay.web.api.resources.topic_event import event_of
from relay.web.api.streams import message, send_stream, streams_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

LAST_EVENT_ID = "Last-Event-ID"


class ListenSecret(Output):
    """The secret of `relay listen`."""

    secret: str
    """`whsec_...`, as the secret of a subscription."""


class TailQuery(Input):
    """The part of a topic that is shown."""

    after: Annotated[str, Field(max_length=2000)] | None = None
    """Begin after this entry, or after the message of the stream with this id; the header `Last-Event-ID` goes before
    it.
    """
    since: DurationText | None = None
    """Begin this long ago. Without both: with the next event."""
    type: Pattern | None = None
    """An event type, or a pattern such as `message.*`."""
    line: LineText | None = None
    """A number of ours, in E.164."""
    handle: HandleText | None = None
    """The customer's phone number or e-mail address."""


@operation("GET", "/topics/{topic}/events/stream", tag=TAG, scope=Scope.READ, media_type=EVENT_STREAM)
async def tail_topic(call: Call, path: TopicPath, query: TailQuery) -> web.StreamResponse:
    """Show the events of a topic as they come, as server-sent events; no group keeps the place.

    Each is a message `event`; its id is the place from which `Last-Event-ID` resumes. A message `gap` tells that events
    after that place are no longer kept, and the last one, `end`, why the stream ends. All tails share a rate.
    """
    after = call.request.headers.get(LAST_EVENT_ID) or query.after
    since_ms = None if query.since is None else call.context.now_ms - query.since * 1000
    wanted = Tail(path.topic, after, since_ms, query.type, query.line, query.handle)
    source = await tail(call.context, streams_of(call.request).tails, call.principal, wanted)

    async def parts() -> AsyncGenerator[bytes, None]:
        position = None
        async for part in source:
            if part.has_gap:
                yield message({"after": part.position}, event="gap")
            messages = [
                message(event_of(record).model_dump_json(), event="event", id=place)
                for record, place in zip(part.events, part.positions, strict=True)
            ]
            position = part.positions[-1] if part.positions else position
            if position != part.position:  # what the filter left out need not be read again
                position = part.position
                messages.append(message(id=position))
            yield b"".join(messages)

    return await send_stream(call.request, call.principal, parts(), call.renew)


@operation("GET", "/me/listen-secret", tag=TAG, scope=Scope.READ, errors={409})
async def get_listen_secret(call: Call) -> ListenSecret:
    """Show the secret with which `relay listen` signs for the team of the token; it never changes."""
    return ListenSecret(secret=(await listen_secret(call.context, call.principal)).text)


OPERATIONS = (tail_topic, get_listen_secret)
