"""The growth of a relay: from N shards to M, more than before, while it runs (`relay shards`).

With jump hash a chat stays where it is or moves to a new shard: of the chats, (M - N) / M move, and never from an old
shard to another old one. All that follows rests on this.

    noted      the first shard notes the target M. A process with RELAY_SHARDS = M may start, and serves M shards;
               events are still placed by N. Processes are restarted one by one.
    copied     what belongs to a moving chat beside its events is copied to its new shard (`copies`)
    decided    one write on the first shard makes M the number in use
    advanced   every old shard is fenced, then the new ones are opened (`fence`); only now are events placed by M
    completed  what was accepted before the fences is routed, and then all is copied once more
    done       nothing of before the fences is on its way to an ordered lane

`relay shards apply` goes as far as the decision, which is an operator's; if it is killed before, the relay works on by
N until it is run again or the growth is cancelled. What follows is done by any process (`completion`): an ingress that
places an event fences the shards, and a worker takes all steps to the end.

**No double acceptance.** A shard knows the number by which events are placed there. The script that accepts is given
the number by which the process has chosen the shard, and with another one takes nothing. Before a process places by M
it fences all old shards: from then on no shard takes a moving chat by N. A new shard, which has N until all old ones
are fenced, takes nothing earlier. So no moment must be agreed on, no ingress is closed, and any process can continue
where another was killed: each step is one write that does nothing the second time. A process that was suspended for
hours cannot do harm when it wakes up.

**No repeat.** A claim on an event id is on the shard that accepted the event. For the dedupe window after the fences,
the claim on an event that moves is looked up on its former shard first, where none can be added any more
(`store.inbox.former_claims`).

**Order in a chat.** The fence notes the end of the inbox. A lane with `ordered` stays closed on the new shards until no
event of a moving chat from before the fences is on its way on the old ones (`order_gate`).

Fewer shards are refused: a chat would move from a shard that goes to one that has its own fences, claims and lanes, and
the history of the shard that goes would have to move as well. A shard that has little to do costs little.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import Conflict
from relay.store.driver.client import ask, numbers_in
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.driver.replication import Replication

_note, _decide = Script(__package__, "note_growth"), Script(__package__, "decide_growth")
_cancel = Script(__package__, "cancel_growth", names_all_keys=True)


class Phase(StrEnum):
    """The phases of a growth."""

    NOTED = "noted"
    DECIDED = "decided"
    ADVANCED = "advanced"
    DONE = "done"


class Growth(NamedTuple):
    """A growth, as the first shard has it; times are Unix milliseconds."""

    former: int
    """The number of shards before it."""
    target: int
    noted_ms: int
    copied_ms: int | None = None
    """Start of the copies that were made before the switch."""
    decided_ms: int | None = None
    advanced_ms: int | None = None
    """Time of the last fence, or later."""
    completed_ms: int | None = None
    """Time at which everything had been copied, after the fences."""
    done_ms: int | None = None

    @property
    def phase(self) -> Phase:
        """The last phase that it has reached."""
        if self.done_ms is not None:
            return Phase.DONE
        if self.advanced_ms is not None:
            return Phase.ADVANCED
        return Phase.NOTED if self.decided_ms is None else Phase.DECIDED

    @property
    def is_decided(self) -> bool:
        """True once the target is the number in use."""
        return self.decided_ms is not None

    @property
    def what_is_next(self) -> str:
        """The next thing that an operator has to do, in words; empty once it is done."""
        if self.done_ms is not None:
            return ""
        if self.is_decided:
            return "workers do what is left; relay shards apply tells what they wait for"
        restart = f"restart every process with RELAY_SHARDS={self.target}, then run: relay shards apply"
        return f"{restart} (to give it up: relay shards cancel)"

    def dedupes_until_ms(self, window_ms: int) -> int | None:
        """Return until when claims on the former shards count, for a dedupe window; None before the fences."""
        return None if self.advanced_ms is None else self.advanced_ms + window_ms


async def read_growth(home: Redis) -> Growth | None:
    """Return the last growth; None if there was none."""
    return _growth_in(await ask(home.hgetall(home.key.growth)))


async def read_placement(home: Redis) -> tuple[int | None, Growth | None]:
    """Return the number of shards in use, None before the first start; and the last growth."""
    async with home.pipeline(transaction=False) as pipe:
        pipe.get(home.key.shards)
        pipe.hgetall(home.key.growth)
        number, fields = await pipe.execute()
    return (None if number is None else int(number)), _growth_in(fields)


async def number_in_use(home: Redis) -> int:
    """Return the number of shards by which events are placed now: while the relay grows, a process has more."""
    number = await ask(home.get(home.key.shards))
    return len(home.shards) if number is None else int(number)


async def is_noted_target(home: Redis, number: int) -> bool:
    """Return True if the relay is to grow to this number of shards, so that processes with it may start."""
    growth = await read_growth(home)
    return growth is not None and not growth.is_decided and growth.target == number


async def is_unfinished(home: Redis) -> bool:
    """Return True if a growth to the number of shards of this process is decided and not done."""
    growth = await read_growth(home)
    return growth is not None and growth.is_decided and growth.done_ms is None and growth.target == len(home.shards)


async def note_growth(home: Redis, former: int, target: int, now_ms: int) -> None:
    """Note the target; the shards must know the former number already (`fence.prepare_fences`).

    Raises:
        Conflict: another number is in use, or another growth is not done.
    """
    if not await _note(home, [home.key.shards, home.key.growth, home.key.opened_lanes], [former, target, now_ms]):
        raise Conflict("the number of shards has changed meanwhile, or another change runs")


async def decide(home: Redis, growth: Growth, now_ms: int, replication: Replication | None = None) -> None:
    """Make the target the number in use.

    Raises:
        Conflict: this growth is no longer the one that is noted.
    """
    keys = [home.key.shards, home.key.growth]
    if not await _decide(home, keys, [growth.former, growth.target, now_ms], replication):
        raise Conflict("it was cancelled, or another change of the number of shards is prepared by now")


async def cancel(home: Redis) -> bool:
    """Forget a growth that is not decided; return False if there is none."""
    return bool(await _cancel(home, [home.key.growth], []))


async def note_time(home: Redis, name: str, now_ms: int) -> None:
    """Note the time of a step, `copied`, `advanced`, `completed` or `done`, unless it is noted already."""
    await ask(home.hsetnx(home.key.growth, name, str(now_ms)))


async def opened_lanes(home: Redis) -> set[str]:
    """Return the ordered lanes that are open on the new shards."""
    return {name.decode() for name in await ask(home.hkeys(home.key.opened_lanes))}


async def note_opened(home: Redis, lane: str, now_ms: int) -> None:
    """Note that an ordered lane is open on the new shards."""
    await ask(home.hsetnx(home.key.opened_lanes, lane, str(now_ms)))


def _growth_in(fields: dict[bytes, bytes]) -> Growth | None:
    found = numbers_in(fields)
    if not {"former", "target", "noted"} <= found.keys():
        return None
    times = {f"{name}_ms": found.get(name) for name in ("copied", "decided", "advanced", "completed", "done")}
    return Growth(found["former"], found["target"], found["noted"], **times)
