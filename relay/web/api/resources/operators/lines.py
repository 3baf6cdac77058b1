"""Lines: our numbers, and when each was last heard."""

from __future__ import annotations

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.services.operators import lines
from relay.web.api.models import Moment, MomentInSeconds, Output, Page, Paging, part_of
from relay.web.api.operation import Call, Tag, operation

TAG = Tag("lines", "Our numbers at Linq: their last event, and for operators the generations of their secrets.")


class Generation(Output):
    """A generation of a line's subscription at Linq, without its secret."""

    number: int
    """1, 2, ...: increased by every rotation."""
    subscription_id: str
    """Linq's id of the subscription."""
    stored_at: MomentInSeconds
    """When its secret was stored."""
    retire_at: MomentInSeconds | None
    """When its successor replaces it, or when it was found missing at Linq; null if neither."""


class Line(Output):
    """A line; or `account` and `v2`, from which events come that name no line in their URL."""

    line: str
    """The number, in E.164; or `account`, or `v2`."""
    last_event: Moment | None = Field(validation_alias="last_event_ms")
    """When its last event came; null if none has."""
    is_silent: bool
    """True if it was heard before, and had no event for too long (`[linq] silent_after` of relay.toml)."""
    last_generation: int | None
    """The generation of the secret that verified the last event; null where that is not shown."""
    generations: list[Generation]
    """The generations whose secret is accepted."""
    fault: str
    """The reason why a stored secret cannot be used; empty if all can be read."""


@operation("GET", "/lines", tag=TAG, scope=Scope.READ)
async def list_lines(call: Call, query: Paging) -> Page[Line]:
    """List the lines; a team sees those that its topics name, without their secrets."""
    return part_of(await lines.list_lines(call.context, call.principal), query, Line, lambda line: line.line)


OPERATIONS = (list_lines,)
