"""Records of a soak, to be judged. Times are Unix seconds; events are their numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

Entry = tuple[int, int]
"""Id of a stream entry."""


def entry_of(text: str | bytes) -> Entry:
    """Return a stream id as numbers."""
    milliseconds, _, sequence = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(milliseconds), int(sequence or 0)


class Begun(NamedTuple):
    """A handler began with an event."""

    number: int
    life: int
    """The process of the member, counted in the group."""
    deliveries: int
    """As the consumer told it."""
    at: float


class Ended(NamedTuple):
    """A handler ended with an event."""

    number: int
    life: int
    at: float
    is_done: bool
    """False if it raised an error."""


@dataclass(frozen=True, slots=True)
class Release:
    """A moment from which other members could have some events."""

    kind: str
    """`kill`: their member was killed; `stop`: it handed them back."""
    life: int
    at: float
    numbers: frozenset[int]
    """What it had not acknowledged."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """The group was deleted; it is made again at its place, so what is beyond it comes again."""

    at: float
    place: Entry


@dataclass(frozen=True, slots=True)
class Pause:
    """A span of time, such as one in which all members of the group stood still."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event in the group's stream of dead letters."""

    number: int
    reason: str
    deliveries: int
    is_whole: bool
    """True if it has all fields of the event and of a dead letter."""


@dataclass(slots=True)
class GroupRecord:
    """All that is known of a group."""

    language: str
    begun: list[Begun] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    trimmed: set[int] = field(default_factory=set)
    """Removed from the topic while the group had not acknowledged or not read them."""
    uncountable: set[int] = field(default_factory=set)
    """Those of them of which no member may be able to tell.

    They were removed while Redis did not know how many entries the group had read (`entries-read`: after it was made
    again, until it has caught up); or not noticed before it was deleted; or while a living member had them in hand,
    whose next heartbeat takes them out of the pending ones, so that it alone can handle them.
    """
    living: set[str] = field(default_factory=set)
    """Names of the members that run."""
    stopping: list[Pause] = field(default_factory=list)
    """From SIGTERM to the end of a member; meanwhile it hands back, also what a read brings that was under way."""
    told: Counter[str] = field(default_factory=Counter)
    """What the members said: `missed` and `trimmed` events, `restored` groups."""
    broken: list[str] = field(default_factory=list)
    """Members that ended by themselves, or did not leave as they should."""
    unfinished: str = ""
    kills: int = 0
    stops: int = 0


@dataclass(slots=True)
class Records:
    """All records of a run."""

    claim_after: float
    max_deliveries: int
    poison: frozenset[int]
    """Events that can only end as dead letters."""
    routed: dict[int, Entry]
    """The entry of each event in the topic."""
    chats: dict[int, str]
    groups: dict[str, GroupRecord]
    accepted: int
    repeated_in_topic: list[int] = field(default_factory=list)
    removed: int = 0
    """Entries that were trimmed."""
    needed_by_safe_trims: int = 0
    seconds: float = 0.0
