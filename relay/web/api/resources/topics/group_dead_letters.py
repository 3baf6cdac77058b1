"""Dead letters of pull groups: events that members of a group rejected, or that were delivered too often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from relay.core.access.scopes import Scope
from relay.services.topics.pull import dead_letters
from relay.services.topics.pull.dead_letters import Choice
from relay.store.keys import GroupName
from relay.web.api.filters import EventCriteria, check_choice
from relay.web.api.models import Moment, Output, Page, Paging, Why
from relay.web.api.operation import Call, operation
from relay.web.api.resources.topics.groups import TAG, EntryId, GroupPath

if TYPE_CHECKING:
    from relay.store.topics.pull.dead_letters import GroupLetter


class GroupLetterPath(GroupPath):
    """The path of a dead letter of a pull group."""

    letter: EntryId


class GroupDeadLetter(Output):
    """An event that a pull group could not handle."""

    id: str
    """Its id within its group."""
    topic: str
    group: str
    event: str
    """The id of the event."""
    type: str
    line: str | None
    chat: str | None
    at: Moment
    """When the group gave it up."""
    reason: str
    """`max_deliveries`, or `rejected` by a member."""
    error: str
    """The error that a member told; empty if it told none."""
    entry: str
    """Its place in the topic."""
    deliveries: int
    """The number of times that the group got it."""
    member: str
    """The member that had it last."""


class GroupDeadLetterInFull(GroupDeadLetter):
    """A dead letter with its body."""

    is_replayable: bool
    """False if the topic no longer keeps the event: then the group cannot get it back, and this is all there is of it.
    """
    body: str | None
    """The body as Linq signed it: JSON; null where the relay does not show bodies."""


class GroupLetterQuery(EventCriteria, Paging):
    """Dead letters that are asked for."""


class GroupLetterSelection(EventCriteria):
    """The dead letters that a change is about: by their ids, or all that meet the criteria."""

    ids: Annotated[tuple[EntryId, ...], Field(min_length=1, max_length=1000)] | None = None
    """Only these; the other criteria are then left out."""
    why: Why
    dry_run: bool = False
    """Change nothing, and only count."""
    all: bool = False
    """Needed without ids and criteria: all dead letters of the group."""

    @model_validator(mode="after")
    def _check(self) -> GroupLetterSelection:
        check_choice(not (self.ids is None and self.as_filter(0).is_any), self.all, "ids or a criterion")
        return self

    def as_choice(self, path: GroupPath, now_ms: int) -> Choice:
        """Return the choice of the services."""
        return Choice(GroupName(path.topic, path.group), self.as_filter(now_ms), self.ids)


class GroupLettersReplayed(Output):
    """The result of a replay."""

    replayed: int
    """The number of events that the group gets again."""
    gone: list[str]
    """Ids of the dead letters that stay, since the topic no longer keeps their events."""


class GroupLettersDropped(Output):
    """The result of dropping."""

    dropped: int
    """The number of dead letters."""


@operation("GET", "/topics/{topic}/groups/{group}/dead-letters", tag=TAG, scope=Scope.READ)
async def list_group_dead_letters(call: Call, path: GroupPath, query: GroupLetterQuery) -> Page[GroupDeadLetter]:
    """List the dead letters of a pull group, the oldest first."""
    which = query.as_filter(call.context.now_ms)
    name = GroupName(path.topic, path.group)
    page = await dead_letters.search(call.context, call.principal, name, which, query.cursor, query.limit)
    found = [GroupDeadLetter.model_validate(_shown(letter)) for letter in page.items]
    return Page[GroupDeadLetter](items=found, next=page.next)


@operation("GET", "/topics/{topic}/groups/{group}/dead-letters/{letter}", tag=TAG, scope=Scope.READ)
async def get_group_dead_letter(call: Call, path: GroupLetterPath) -> GroupDeadLetterInFull:
    """Get a dead letter of a pull group with its body."""
    name = GroupName(path.topic, path.group)
    found = await dead_letters.get(call.context, call.principal, name, path.letter)
    more = {"is_replayable": found.is_kept, "body": found.body.text}
    return GroupDeadLetterInFull.model_validate(_shown(found.letter) | more)


@operation(
    "POST",
    "/topics/{topic}/groups/{group}/dead-letters/replay",
    tag=TAG,
    scope=Scope.REPLAY,
    idempotent=True,
    errors={409},
)
async def replay_group_dead_letters(call: Call, path: GroupPath, body: GroupLetterSelection) -> GroupLettersReplayed:
    """Give dead letters back to their pull group, and only to it.

    Each is delivered next, as for the first time. 409 if the group was deleted.
    """
    choice = body.as_choice(path, call.context.now_ms)
    return GroupLettersReplayed.model_validate(
        await dead_letters.replay(call.context, call.principal, choice, body.why, dry_run=body.dry_run)
    )


@operation(
    "POST",
    "/topics/{topic}/groups/{group}/dead-letters/drop",
    tag=TAG,
    scope=Scope.REPLAY,
    idempotent=True,
)
async def drop_group_dead_letters(call: Call, path: GroupPath, body: GroupLetterSelection) -> GroupLettersDropped:
    """Drop dead letters of a pull group: their events are lost for it."""
    choice = body.as_choice(path, call.context.now_ms)
    dropped = await dead_letters.drop(call.context, call.principal, choice, body.why, dry_run=body.dry_run)
    return GroupLettersDropped(dropped=dropped)


def _shown(letter: GroupLetter) -> dict[str, object]:
    record = letter.record
    return {
        "id": record.entry,
        "topic": letter.topic,
        "group": letter.group,
        "event": record.id,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
        "at": letter.at,
        "reason": letter.reason,
        "error": letter.error,
        "entry": letter.entry,
        "deliveries": letter.deliveries,
        "member": letter.member,
    }


OPERATIONS = (
    list_group_dead_letters,
    get_group_dead_letter,
    replay_group_dead_letters,
    drop_group_dead_letters,
)
