"""Lines, as Redis knows them: the last event of each, and the generations of its secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.event import ACCOUNT, Dialect
from relay.store.keyring.keyring import read_records
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig
    from relay.services.context import Context
    from relay.store.keyring.last_seen import LastEvent


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of a line's Linq subscription, without its secret."""

    number: int
    subscription_id: str
    """Linq's id of the subscription."""
    stored_at: int
    """Unix seconds."""
    retire_at: int | None
    """Unix seconds: when its successor replaces it, or when it was found missing at Linq; None if neither."""


@dataclass(frozen=True, slots=True)
class LineState:
    """A line; or `account` and `v2`, from which events come that name no line in their URL."""

    line: str
    last_event_ms: int | None
    """Unix milliseconds; None if there was none."""
    is_silent: bool
    """True if it is registered, or was heard before, and had no event for too long (`[linq] silent_after`)."""
    last_generation: int | None = None
    """The generation of the secret that verified the last event; None where that is not shown."""
    generations: tuple[Generation, ...] = ()
    """By number."""
    fault: str = ""
    """The reason why a stored secret cannot be used; empty if all can be read."""


async def list_lines(context: Context, principal: Principal) -> list[LineState]:
    """Return the lines, by number.

    An operator gets all that have a secret or had an event; a team those that its topics name, without their secrets.
    """
    principal.require(Scope.READ)
    config = await context.config()
    seen = await last_events(context.redis)
    if not principal.is_operator:
        return [_line(context, config, line, seen) for line in sorted(_named(config, principal))]
    records, broken = await read_records(context.redis)
    generations: dict[str, list[Generation]] = {}
    for record in records:
        found = Generation(record.generation, record.subscription_id, record.stored_at, record.retire_at)
        generations.setdefault(record.line or ACCOUNT, []).append(found)
    faults = {error.owner: str(error) for error in broken}
    return [
        _line(context, config, line, seen, _in_order(generations.get(line, ())), faults.get(line, ""))
        for line in sorted({*seen, *generations, *faults})
    ]


def _line(
    context: Context,
    config: RelayConfig,
    line: str,
    seen: dict[str, LastEvent],
    generations: tuple[Generation, ...] | None = None,
    fault: str = "",
) -> LineState:
    last = seen.get(line)
    is_registered = bool(generations) or line == Dialect.V2 or generations is None
    return LineState(
        line=line,
        last_event_ms=last.at_ms if last else None,
        is_silent=bool(last and is_registered and last.is_silent(line, context.clock(), config.linq.silent_after)),
        last_generation=last.generation if last and generations is not None else None,
        generations=generations or (),
        fault=fault,
    )


def _named(config: RelayConfig, principal: Principal) -> set[str]:
    return {line for topic in config.topics if principal.sees_topic(topic.name) for line in topic.lines or ()}


def _in_order(generations: Iterable[Generation]) -> tuple[Generation, ...]:
    return tuple(sorted(generations, key=lambda generation: generation.number))
