"""Settling received events: acknowledge, extend, release, reject.

A receipt is `<entry>.<number of deliveries>`. A cursor is the runs of events that an answer held, each
`<first entry>_<receipt of the last one>`: an answer that was lost has left other events with the member, which it has
never seen. A receipt in place of a run is all that the member has up to it.
Acknowledging works with any receipt of an event, also after its visibility timeout: it was handled. Extending,
releasing and rejecting work only with its last one, since the event belongs to another reader otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from relay.core.errors import Invalid, NotFound, Problem
from relay.services.topics.pull.access import check_name, open_group
from relay.services.topics.pull.batch import BETWEEN_RUNS
from relay.services.topics.pull.request import MAX_VISIBILITY, MIN_VISIBILITY
from relay.store.driver.client import REDIS_ERRORS
from relay.store.topics.pull.group import Receipt, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.keys import GroupName
    from relay.store.topics.pull.arrivals import Arrivals
    from relay.store.topics.pull.whole_group import UpTo, WholeGroup

MAX_RECEIPTS = 1000

_RECEIPT = re.compile(r"([0-9]{1,15}-[0-9]{1,18}(?:\.[1-9][0-9]?)?)\.([0-9]{1,9})")
_FIRST = re.compile(r"([0-9]{1,15}-[0-9]{1,18})_(.*)")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of acknowledging, extending or releasing events."""

    done: int
    """Events that were still the reader's, and for which it was done."""
    not_done: Sequence[str] = ()
    """Receipts of events that were acknowledged before, or delivered to another reader since."""


async def acknowledge(
    context: Context, arrivals: Arrivals, principal: Principal, place: GroupName, receipts: Sequence[str]
) -> Settled:
    """Acknowledge events; their number is known, but not which of them were acknowledged before.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or a receipt.
    """
    parsed = _parse(receipts)
    pull = await open_group(context, principal, *place)
    done = _found(await pull.acknowledge([receipt.entry for receipt in parsed]), place)
    arrivals.wake(place.topic)
    return Settled(done)


def runs_of(cursor: str, field: str) -> list[Run]:
    """Return the runs of a cursor that a caller gave as `field`; the receipt of an event is a cursor, too.

    Raises:
        Invalid: it is not one; names the field.
    """
    matches = [(part, _FIRST.fullmatch(part)) for part in cursor.split(BETWEEN_RUNS)]
    lasts = _parse([match[2] if match else part for part, match in matches], field)
    return [Run(last, match[1] if match else "") for last, (_, match) in zip(lasts, matches, strict=True)]


async def acknowledge_runs(
    context: Context, arrivals: Arrivals, principal: Principal, place: GroupName, member: str, runs: Sequence[Run]
) -> Settled:
    """Acknowledge the events of these runs that a member still has.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or the member.
    """
    done = await _acknowledge_runs(await open_group(context, principal, *place), member, runs)
    arrivals.wake(place.topic)
    if done.error is not None:
        raise done.error
    return Settled(_found(done.done, place))


async def acknowledge_as_far(
    pull: WholeGroup, arrivals: Arrivals, place: GroupName, member: str, runs: Sequence[Run]
) -> list[Run]:
    """Acknowledge the same in an open group, on the shards that answer; return the runs of the others to try again.

    With one shard its error is raised.

    Raises:
        NotFound, Invalid: of the group or the member.
    """
    done = await _acknowledge_runs(pull, member, runs)
    arrivals.wake(place.topic)
    if done.error is not None and not (len(pull.parts) > 1 and isinstance(done.error, REDIS_ERRORS)):
        raise done.error
    if done.error is None:
        _found(done.done, place)
    return done.left


async def _acknowledge_runs(pull: WholeGroup, member: str, runs: Sequence[Run]) -> UpTo:
    check_name("member", member)
    return await pull.acknowledge_runs(member, runs)


async def extend(
    context: Context, principal: Principal, place: GroupName, receipts: Sequence[str], visibility: float
) -> Settled:
    """Let events expire `visibility` seconds from now.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group, a receipt or the visibility.
    """
    if not MIN_VISIBILITY <= visibility <= MAX_VISIBILITY:
        raise Invalid(Problem("visibility", f"must be {MIN_VISIBILITY:g} to {MAX_VISIBILITY:g} s"))
    parsed = _parse(receipts)
    pull = await open_group(context, principal, *place)
    return _settled(parsed, _found(await pull.extend(parsed, visibility), place))


async def release(
    context: Context,
    arrivals: Arrivals,
    principal: Principal,
    place: GroupName,
    receipts: Sequence[str],
    *,
    counts: bool = True,
) -> Settled:
    """Hand events back, to be delivered next, to any reader; without `counts`, this delivery is not counted.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or a receipt.
    """
    parsed = _parse(receipts)
    pull = await open_group(context, principal, *place)
    settled = _settled(parsed, _found(await pull.release(parsed, counts=counts), place))
    arrivals.wake(place.topic)
    return settled


async def reject(
    context: Context, principal: Principal, place: GroupName, receipts: Sequence[str], error: str = ""
) -> Settled:
    """Make events dead letters of the group; `error` says why.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic, the group or a receipt.
    """
    parsed = _parse(receipts)
    pull = await open_group(context, principal, *place)
    return _settled(parsed, _found(await pull.reject(parsed, error), place))


def _parse(texts: Sequence[str], field: str = "receipts") -> list[Receipt]:
    if len(texts) > MAX_RECEIPTS or not texts:
        raise Invalid(Problem(field, f"give 1 to {MAX_RECEIPTS} of them"))
    receipts, problems = [], []
    for number, text in enumerate(texts):
        if match := _RECEIPT.fullmatch(text):
            receipts.append(Receipt(match[1], int(match[2])))
        else:
            place = field if field != "receipts" else f"{field}[{number}]"
            problems.append(Problem(place, f'"{text[:40]}" is not a receipt, such as 1789377302000-0.1'))
    if problems:
        raise Invalid(*problems[:20])
    return receipts


def _found(result: Result | None, place: GroupName) -> Result:
    if result is None:
        raise NotFound(
            f'topic "{place.topic}" has no group "{place.group}"; the next receive makes it, at its last known place'
        )
    return result


def _settled(receipts: Sequence[Receipt], done: Sequence[str]) -> Settled:
    entries = set(done)
    return Settled(len(entries), [str(receipt) for receipt in receipts if receipt.entry not in entries])
