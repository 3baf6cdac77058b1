"""Pull groups: their lag, moving and deleting them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, Problem
from relay.services.topics import groups
from relay.services.topics.groups import Target
from relay.services.topics.pull.states import PullGroup as Found
from relay.web.api.models import Input, Moment, Output, Page, Paging, When, Why, ms_of, part_of
from relay.web.api.operation import Call, Tag, operation
from relay.web.api.resources.topics.topics import TopicPath

TAG = Tag("pull groups", "Consumer groups by which teams read a topic themselves.")

GroupName = Annotated[str, Field(min_length=1, max_length=200)]
EntryId = Annotated[str, Field(pattern=r"^\d{1,15}-\d{1,10}(\.[1-9]\d?)?$", examples=["1789377302417-0"])]


class GroupPath(TopicPath):
    """The path of a pull group."""

    group: GroupName


class GroupMember(Output):
    """A consumer of a group."""

    name: str
    """The name of the consumer; one of pull over HTTP is `relay:http:<milliseconds>:<member>`."""
    kind: Literal["redis", "http", "returned"]
    """Its connection; `returned` is no reader, but has the events that were handed back."""
    pending: int
    """The number of events that it has read and not acknowledged."""
    idle_ms: int
    """Time since it last asked for events, milliseconds."""


class PullGroup(Output):
    """A pull group of a topic."""

    topic: str
    name: str
    """Its name: that of its team, or the team's and a dot and more."""
    team: str | None
    """The team that it belongs to; null if its name is that of none."""
    lag: int
    """The number of events that it has not read; an estimate where Redis does not know it."""
    pending: int
    """The number of events that it has read and not acknowledged."""
    position: str
    """The last entry that it has read."""
    position_at: Moment | None = Field(validation_alias="position_ms")
    """Time of routing of that entry; null at the beginning."""
    unread_since: Moment | None = Field(validation_alias="unread_since_ms")
    """Time of routing of the oldest event that it has not read; null if there is none."""
    dead: int
    """The number of its dead letters."""
    idle_ms: int | None
    """Time since a consumer last asked for events, milliseconds; null without a consumer."""
    members: list[GroupMember]
    """Its consumers."""


class SeekBody(Input):
    """A new position: one of `to`, `at` and `entry`."""

    to: Annotated[str, Field(pattern="^(start|end)$")] | None = None
    """`start` or `end` of what the topic holds."""
    at: When | None = None
    """Before what was routed at this time or later: a time with its zone, or an age such as `2h`."""
    entry: EntryId | None = None
    """Before this entry."""
    why: Why
    dry_run: bool = False
    """Change nothing, and only show the effect."""


class SeekResult(Output):
    """The effect of a move."""

    topic: str
    group: str
    before: str
    """The entry that was the last to be read."""
    after: str
    """The entry after which the group resumes."""
    events: int
    """The number of events between the two."""
    is_back: bool
    """True if they are read again, false if they are skipped."""
    skipped: int
    """The number of those that are skipped: of several shards, some may be behind the new position."""
    is_complete: bool
    """False if the topic no longer holds everything since the target."""
    redelivered: int | None
    """The number of pending events that are delivered again; null for a dry run."""


class DeleteQuery(Input):
    """The reason of a deletion, and what becomes of the dead letters."""

    why: Why
    dead: Literal["keep", "drop"] = "keep"
    """`keep` the dead letters of the group, to be looked at and dropped later, or `drop` them with it; that needs the
    scope `replay`, too.
    """


@operation("GET", "/groups", tag=TAG, scope=Scope.READ)
async def list_groups(call: Call, query: Paging) -> Page[PullGroup]:
    """List the pull groups that you may see, of all topics."""
    return _page(query, await groups.list_groups(call.context, call.principal))


@operation("GET", "/topics/{topic}/groups", tag=TAG, scope=Scope.READ)
async def list_groups_of_topic(call: Call, path: TopicPath, query: Paging) -> Page[PullGroup]:
    """List the pull groups of a topic."""
    return _page(query, await groups.list_groups(call.context, call.principal, path.topic))


@operation("GET", "/topics/{topic}/groups/{group}", tag=TAG, scope=Scope.READ)
async def get_group(call: Call, path: GroupPath) -> PullGroup:
    """Get a pull group with its lag."""
    return PullGroup.model_validate(await groups.get_group(call.context, call.principal, path.topic, path.group))


@operation("POST", "/topics/{topic}/groups/{group}/seek", tag=TAG, scope=Scope.SUBSCRIBE, errors={409})
async def seek_group(call: Call, path: GroupPath, body: SeekBody) -> SeekResult:
    """Move a pull group to another position of its topic, to read events again or to skip them."""
    planned = await groups.plan(call.context, call.principal, path.topic, path.group, _target(call, body))
    redelivered = None
    if not body.dry_run:
        redelivered = await groups.seek(call.context, call.principal, planned, body.why)
    move = planned.move
    return SeekResult(
        topic=move.topic,
        group=move.group,
        before=move.current,
        after=move.after,
        events=move.events,
        is_back=planned.is_back,
        skipped=planned.skipped,
        is_complete=planned.is_complete,
        redelivered=redelivered,
    )


@operation("DELETE", "/topics/{topic}/groups/{group}", tag=TAG, scope=Scope.SUBSCRIBE, errors={409})
async def delete_group(call: Call, path: GroupPath, query: DeleteQuery) -> None:
    """Delete a pull group with its position."""
    with_letters = query.dead == "drop"
    await groups.delete(call.context, call.principal, path.topic, path.group, query.why, with_letters=with_letters)


def _page(query: Paging, found: list[Found]) -> Page[PullGroup]:
    return part_of(found, query, PullGroup, lambda group: f"{group.topic} {group.name}")


def _target(call: Call, body: SeekBody) -> Target:
    given = {name: value for name in ("to", "at", "entry") if (value := getattr(body, name)) is not None}
    if len(given) != 1:
        raise Invalid(Problem("to", "give one of to, at and entry"))
    if body.entry is not None:
        return Target.at_entry(body.entry)
    if body.at is not None:
        return Target.at(ms_of(body.at, call.context.now_ms) or 0)
    return Target.start() if body.to == "start" else Target.end()


OPERATIONS = (list_groups, list_groups_of_topic, get_group, seek_group, delete_group)
