"""Topics: their size, age and readers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name
from relay.services.topics import topics
from relay.web.api.models import Input, Moment, Output, Page, Paging, Why, part_of
from relay.web.api.operation import Call, Tag, operation

TAG = Tag("topics", "Streams of events, each by rules of relay.toml.")


class TopicPath(Input):
    """The path of a topic."""

    topic: Name


class TopicReader(Output):
    """A reader of a topic."""

    name: str
    """The subscription, or the pull group."""
    is_push: bool
    """True for a push subscription, false for a pull group."""
    lag: int
    """The number of events that it has not read."""
    pending: int
    """The number of events that it has read and not acknowledged."""
    is_exact: bool
    """False if the lag is an estimate."""


class Topic(Output):
    """A topic."""

    name: str
    """Its name."""
    state: str
    """`active`, or `removed` if the rules no longer have it."""
    events: int
    """The number of kept events."""
    bytes: int = Field(validation_alias="size")
    """Their size in Redis."""
    oldest: Moment | None = Field(validation_alias="oldest_ms")
    """Time of routing of the oldest kept event."""
    unread: int
    """The number of events that the reader furthest behind has not handled."""
    readers: list[TopicReader] = Field(validation_alias="groups")
    """The subscriptions and pull groups that you may see."""


class TopicQuery(Input):
    """The depth of looking at a topic."""

    exact: bool = False
    """Count the lags, which reads what no group has read."""


class DropQuery(Input):
    """Options of dropping a topic."""

    why: Why
    even_unread: bool = False
    """Drop events that readers have not handled, too."""


class DroppedTopic(Output):
    """The result of dropping a topic."""

    events: Annotated[int, Field(ge=0)]
    """The number of events that are lost."""


@operation("GET", "/topics", tag=TAG, scope=Scope.READ, errors={422})
async def list_topics(call: Call, query: Paging) -> Page[Topic]:
    """List the topics that you may read."""
    return part_of(await topics.list_states(call.context, call.principal), query, Topic, lambda topic: topic.name)


@operation("GET", "/topics/{topic}", tag=TAG, scope=Scope.READ)
async def get_topic(call: Call, path: TopicPath, query: TopicQuery) -> Topic:
    """Get a topic."""
    state = await topics.get_state(call.context, call.principal, path.topic, is_exact=query.exact)
    return Topic.model_validate(state)


@operation("DELETE", "/topics/{topic}", tag=TAG, scope=Scope.ADMIN, operators_only=True, errors={409})
async def drop_topic(call: Call, path: TopicPath, query: DropQuery) -> DroppedTopic:
    """Drop a topic that the rules no longer have, with its events and groups."""
    dropped = await topics.drop(call.context, call.principal, path.topic, query.why, even_unread=query.even_unread)
    return DroppedTopic.model_validate(dropped)


OPERATIONS = (list_topics, get_topic, drop_topic)
