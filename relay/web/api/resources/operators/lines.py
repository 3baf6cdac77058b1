"""Lines: our numbers, their activity, what Linq reports about them, and who has opted out of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.services.operators import lines, opt_outs
from relay.services.operators.lines import LineHealth
from relay.web.api.models import PLUS, Input, Moment, MomentInSeconds, Output, Page, Paging, Why, part_of
from relay.web.api.operation import Call, Tag, operation

TAG = Tag(
    "lines",
    "Our numbers at Linq: their activity, health and opt-outs, and for operators the generations of their secrets.",
)

LineName = Annotated[str, PLUS, Field(min_length=1, max_length=64, examples=["+16465550123"])]
Handle = Annotated[str, Field(min_length=3, max_length=254, examples=["+13035550188"])]


class LinePath(Input):
    """The path of a line."""

    line: LineName
    """The number, in E.164; or `account`, or `v2`."""


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
    state: LineHealth
    """The worst of what is wrong: `failed` (a stored secret cannot be used), `released` (Linq took it from the
    account), `silent`, `flagged`; else `active`, or `new` without any event.
    """
    account: str | None
    """The name of its account at Linq; null where only one is configured."""
    kind: str | None
    """`iMessage` or `RCS`, as Linq lists it; null if it has not."""
    status: str | None
    """`ACTIVE` or `FLAGGED`, by the last event of Linq's about it; null without one."""
    reputation: str | None
    """`HEALTHY`, `AT_RISK` or `CRITICAL`, as Linq tells it; null if it has not."""
    listed_at: Moment | None = Field(validation_alias="listed_ms")
    """When Linq last listed it."""
    released_at: Moment | None = Field(validation_alias="released_ms")
    """When Linq took it from the account; null if it is there."""
    last_event: Moment | None = Field(validation_alias="last_event_ms")
    """When its last event came; null if none has."""
    last_inbound: Moment | None = Field(validation_alias="last_inbound_ms")
    """When the last event came that a customer caused."""
    last_outbound: Moment | None = Field(validation_alias="last_outbound_ms")
    """When the last event came about a message of ours."""
    events_last_day: int | None
    """Its events in the last 24 hours; null for `account` and `v2`."""
    events_usual_day: float | None
    """The mean of the same hours in the weeks before; null until the line has been known for two weeks."""
    is_silent: bool
    """True if it had events before, and has had no event for longer than is usual for it at these hours."""
    has_rhythm: bool
    """True if that is judged by its own usual week; false while it is too new, and `[linq] silent_after` counts."""
    teams: list[str]
    """The teams that have a subscription to it, or are granted a topic that takes it; a team sees only itself."""
    topics: list[str]
    """The topics that take it, of those that you may see."""
    subscriptions: list[str]
    """The push subscriptions that take it, of those that you may see."""
    opt_outs: int | None
    """The number of handles that have opted out of it; null if `[linq] opt_outs` is off."""
    last_generation: int | None
    """The generation of the secret that verified the last event; null where that is not shown."""
    generations: list[Generation]
    """The generations whose secret is accepted."""
    fault: str
    """The reason why a stored secret cannot be used; empty if all can be read."""


class Day(Output):
    """The events of a line in a day of UTC."""

    begin: Moment = Field(validation_alias="begin_ms")
    """The begin of the day."""
    events: int
    """The number of its events."""


class LineWithDays(Line):
    """A line with its last two weeks."""

    days: list[Day]
    """The last 14 days, of which the last is today; empty if it has had no event."""


class OptOut(Output):
    """A handle that has opted out of a line."""

    handle: str
    """The number, in E.164, or the e-mail address in lower case."""
    at: Moment = Field(validation_alias="at_ms")
    """When it sent its STOP."""


class Question(Input):
    """The question whether a line may write to a handle."""

    handle: Handle
    """A number in E.164, or an e-mail address."""


class Permission(Output):
    """The answer to it, as far as the relay knows."""

    line: str
    handle: str
    """The handle as it is kept: e-mail addresses in lower case."""
    may_write: bool
    """False if the handle has opted out of the line, and not in again."""
    opted_out_at: Moment | None = Field(validation_alias="opted_out_ms")
    """When it opted out; null if it may be written to."""


class Erasure(Input):
    """A handle to erase."""

    handle: Handle
    """A number in E.164, or an e-mail address."""
    why: Why


class Erased(Output):
    """The effect of an erasure."""

    lines: list[str]
    """The lines that had a record of the handle."""


@operation("GET", "/lines", tag=TAG, scope=Scope.READ)
async def list_lines(call: Call, query: Paging) -> Page[Line]:
    """List the lines; a team sees those that its topics take, without their secrets."""
    return part_of(await lines.list_lines(call.context, call.principal), query, Line, lambda line: line.line)


@operation("GET", "/lines/{line}", tag=TAG, scope=Scope.READ, errors={404})
async def get_line(call: Call, path: LinePath) -> LineWithDays:
    """Get a line, with its events of the last two weeks."""
    return LineWithDays.model_validate(await lines.get_line(call.context, call.principal, path.line))


@operation("GET", "/lines/{line}/opt-outs", tag=TAG, scope=Scope.READ, errors={404, 409})
async def list_opt_outs(call: Call, path: LinePath, query: Paging) -> Page[OptOut]:
    """List the handles that have opted out of a line, the oldest first; needs `[linq] opt_outs`."""
    found = await opt_outs.list_opt_outs(call.context, call.principal, path.line, query.cursor, query.limit)
    return Page[OptOut](items=[OptOut.model_validate(each) for each in found.items], next=found.next)


@operation("POST", "/lines/{line}/may-write", tag=TAG, scope=Scope.READ, errors={404, 409})
async def may_write(call: Call, path: LinePath, body: Question) -> Permission:
    """Ask whether a line may write to a handle; needs `[linq] opt_outs`.

    The handle is in the body, since URLs end up in the logs of proxies.
    """
    return Permission.model_validate(await opt_outs.ask(call.context, call.principal, path.line, body.handle))


@operation("POST", "/opt-outs/erase", tag=TAG, scope=Scope.ADMIN, operators_only=True, idempotent=True)
async def erase_handle(call: Call, body: Erasure) -> Erased:
    """Erase a handle from the opt-outs of every line; lines may then write to it, as far as the relay knows."""
    return Erased(lines=await opt_outs.erase(call.context, call.principal, body.handle, body.why))


OPERATIONS = (list_lines, get_line, list_opt_outs, may_write, erase_handle)
