"""The steps of the move from v2 to v3. Each run finds out which are done, and continues there.

    1  v3 on       every line has a subscription at v3 (and v2 stays on)
    2  compare     both were on for the time that the operator chose, and v3 missed no message of v2
    3  relay.toml  has no [linq.v2] any more: as long as it has, apply and workers would create the subscription again
    4  v2 off      our v2 subscription is deleted; others are never touched

Reading topics changes nothing. The comparison needs a topic that takes the messages of both APIs, or one for each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.bootstrap.factory import open_reconciler
from relay.bootstrap.migration.messages import COMPARED, Comparison, compare, copy_of
from relay.bootstrap.needs import NEEDS
from relay.bootstrap.plan import Action
from relay.core.durations import format_duration
from relay.core.patterns import matches
from relay.linq.api.v2 import open_linq_v2
from relay.linq.target_urls import is_our_v2_url
from relay.store.topics.history import History
from relay.store.topics.record import record_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.bootstrap.migration.messages import Copy
    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconciling.v3 import AppliedStep
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v2_models import V2Subscription
    from relay.store.driver.client import Redis

MOVE_NEEDS = (*NEEDS, "linq_v2_token")
"""The settings that the move needs."""

SETTLING = 120.0
"""Seconds for which a copy may be on its way: later messages are not compared yet."""

_SETTLED = 10.0  # seconds after its creation from which a subscription is expected to get every message
_PAGE = 500


class State(StrEnum):
    """The state of a step of the move."""

    DONE = "done"
    NEXT = "next"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class MoveStep:
    """A step of the move."""

    name: str
    state: State
    what: str
    """The finding, or what to do."""


@dataclass
class Move:
    """The steps, and what the next one would change at Linq."""

    steps: list[MoveStep]
    to_register: list[Step] = field(default_factory=list)
    """Steps at v3 of step 1."""
    to_delete: list[V2Subscription] = field(default_factory=list)
    """Our v2 subscriptions, if step 4 is next."""
    comparison: Comparison | None = None

    @property
    def is_done(self) -> bool:
        """True if nothing is left to do."""
        return all(step.state is State.DONE for step in self.steps)


async def plan_move(settings: Settings, redis: Redis, config: RelayConfig, period: float, now: float) -> Move:
    """Return the steps, and which is next; change nothing. `period` are the seconds to compare, `now` is Unix seconds.

    Raises:
        LinqApiError, StoreError: Linq's state or the secrets cannot be read.
        SettingsError: a variable is missing.
    """
    settings.require(*MOVE_NEEDS, because="the move from v2 to v3 needs both APIs")
    async with open_reconciler(settings, redis, config) as reconciler:
        survey = await reconciler.survey()
    pending = [step for step in survey.plan(now) if step.action in {Action.CREATE, Action.UPDATE}]
    ours = await _our_v2(settings)
    if not ours and not config.linq.v2:
        return Move([MoveStep(name, State.DONE, "") for name in ("v3 on", "compare", "relay.toml", "v2 off")])
    results = [_first(pending, len(survey.owners))]
    in_use = [record.stored_at for record in survey.secrets if record.retire_at is None and record.line]
    since = max(now - period, max(in_use, default=now) + _SETTLED)
    comparison, kept = None, now
    if results[0].state is State.DONE and ours:
        comparison, kept = await _compare(redis, config, since, now)
    on_for = now - max(since, kept)
    results.append(_second(results[0], comparison, period, on_for, has_v2=bool(ours)))
    is_compared = results[1].state is State.DONE
    states = [is_compared, is_compared and config.linq.v2 is None]
    removed = config.linq.v2 is None
    what = "[linq.v2] is not in it" if removed else "remove [linq.v2]; v2 stays on and is accepted meanwhile"
    third = State.DONE if removed and is_compared else State.NEXT if states[0] else State.LATER
    fourth = State.NEXT if states[1] else State.LATER
    results.append(MoveStep("relay.toml", third, what))
    names = ", ".join(str(each.id) for each in ours)
    results.append(MoveStep("v2 off", fourth, f"delete our subscription at v2: {names or 'there is none'}"))
    return Move(results, pending, ours if fourth is State.NEXT else [], comparison)


async def register(
    settings: Settings, redis: Redis, config: RelayConfig, on_done: Callable[[AppliedStep], None]
) -> list[AppliedStep]:
    """Carry out step 1: create and update at v3, and delete nothing."""
    only = {Action.CREATE, Action.UPDATE}
    async with open_reconciler(settings, redis, config) as reconciler:
        return await reconciler.apply(on_done, only=lambda step: step.action in only)


async def switch_off(settings: Settings, ids: set[int]) -> list[int]:
    """Carry out step 4: delete those of `ids` that still are our subscriptions at v2; return them."""
    deleted = []
    for subscription in await _our_v2(settings):
        if subscription.id in ids:
            async with open_linq_v2(_token(settings), settings.linq_v2_base_url) as api:
                await api.delete(subscription.id)
            deleted.append(subscription.id)
    return deleted


async def _our_v2(settings: Settings) -> list[V2Subscription]:
    async with open_linq_v2(_token(settings), settings.linq_v2_base_url) as api:
        found = await api.subscriptions()
    return [each for each in found if is_our_v2_url(str(settings.relay_public_url), each.webhook_url)]


def _token(settings: Settings) -> str:
    assert settings.linq_v2_token is not None  # noqa: S101  it was required
    return settings.linq_v2_token.get_secret_value()


def _first(pending: list[Step], owners: int) -> MoveStep:
    if pending:
        return MoveStep("v3 on", State.NEXT, f"{len(pending)} subscriptions to create or correct at v3; v2 stays on")
    return MoveStep("v3 on", State.DONE, f"{owners} subscriptions at v3")


def _second(first: MoveStep, found: Comparison | None, period: float, both_on: float, *, has_v2: bool) -> MoveStep:
    if first.state is not State.DONE:
        return MoveStep("compare", State.LATER, f"{format_duration(period)} of messages that came over both")
    if not has_v2 or found is None:
        return MoveStep("compare", State.DONE, "v2 has no subscription of ours, so there is nothing to compare")
    counts = f"{found.both} over both, {len(found.only_v2)} only over v2, {len(found.only_v3)} only over v3"
    if both_on < period - 1:
        seen = f"{format_duration(max(both_on, 0))} of {format_duration(period)} are over or still in the topics"
        return MoveStep("compare", State.NEXT, f"{counts}; {seen}: wait, or choose a shorter --for")
    if found.only_v2:
        return MoveStep("compare", State.NEXT, f"{counts}; find out why v3 missed them before v2 goes off")
    if not found.both:
        return MoveStep("compare", State.NEXT, f"{counts}; send a message to a line, or choose a longer --for")
    return MoveStep("compare", State.DONE, counts)


async def _compare(redis: Redis, config: RelayConfig, since: float, now: float) -> tuple[Comparison, float]:
    """Return the comparison of what was sent since `since`, and the time from which topics have all of it."""
    copies, kept = [], since
    for topic in config.topics:
        if not any(matches(pattern, compared) for pattern in topic.events for compared in COMPARED):
            continue
        for history in (History(shard, topic.name) for shard in redis.shards):
            extent = await history.extent()
            if not extent.reaches(since * 1000):
                kept = max(kept, now if extent.oldest_ms is None else extent.oldest_ms / 1000)
            copies += await _copies(history, (since - SETTLING) * 1000)
    return compare(copies).between(kept, now - SETTLING), kept


async def _copies(history: History, since_ms: float) -> list[Copy]:
    """Return the copies of messages in a history since a time."""
    copies: list[Copy] = []
    span = await history.span(since_ms, None)
    after = span.after
    while rows := await history.read(after, span.end, _PAGE):
        after = rows[-1][0]
        found = (copy_of(record_of(entry.encode(), fields)) for entry, fields in rows)
        copies += [copy for copy in found if copy is not None]
    return copies
