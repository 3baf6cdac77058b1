"""Plans: a single pass reaches the desired state from any state of Linq and of the keyring."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from relay.bootstrap.plan import Action, DesiredState, Step, make_plan
from relay.linq.api.v3 import LinqSubscription
from relay.linq.target_urls import our_target
from tests.bootstrap.building import (
    FOREIGN_URLS,
    GONE_LINE,
    LINE,
    NOW,
    OTHER_LINE,
    PUBLIC,
    record,
)
from tests.properties import quick

if TYPE_CHECKING:
    from relay.store.keyring.record import KeyRecord


@dataclass
class SimulatedLinq:
    """Linq and the keyring in memory, to which a plan is applied."""

    subscriptions: dict[str, LinqSubscription]
    secrets: list[KeyRecord] = field(default_factory=list)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def carry_out(self, step: Step, want: DesiredState) -> None:
        match step.action:
            case Action.CREATE:
                self._create(step, want)
            case Action.UPDATE:
                there = self.subscriptions[str(step.subscription_id)]
                self.subscriptions[there.id] = replace(
                    there, events=want.events_of(step.line), phone_numbers=filter_of(step.line), is_active=True
                )
            case Action.DELETE:
                del self.subscriptions[str(step.subscription_id)]
                self.secrets = [held for held in self.secrets if held.subscription_id != step.subscription_id]
            case Action.RETIRE:
                raise AssertionError("only a rotation retires")
            case Action.KEEP | Action.HOLD:
                assert step.subscription_id in self.subscriptions

    def _create(self, step: Step, want: DesiredState) -> None:
        assert step.target_url not in {there.target_url for there in self.subscriptions.values()}, "used once"
        made = LinqSubscription(
            f"new-{next(self.ids)}",
            step.target_url,
            want.events_of(step.line),
            filter_of(step.line),
            is_active=True,
        )
        self.subscriptions[made.id] = made
        self.secrets = [
            held for held in self.secrets if (held.line, held.generation) != (step.line, step.generation)
        ] + [record(made.id, step.line, step.generation)]

    def plan(self, want: DesiredState) -> list[Step]:
        return make_plan(want, self.subscriptions.values(), self.secrets, NOW)


def filter_of(line: str | None) -> frozenset[str]:
    return frozenset({line} if line else ())


LINES = (LINE, OTHER_LINE, "+16465550125", GONE_LINE)

our_urls = st.builds(
    lambda version, line, generation, more: (
        f"{PUBLIC}/webhooks/linq?" + "&".join(filter(None, (version, line, generation, more)))
    ),
    st.sampled_from(["version=2026-02-03", "version=2026-02-03", "version=2025-01-01", ""]),
    st.sampled_from([*(f"line={line[1:]}" for line in LINES), "line=nobody", ""]),
    st.sampled_from(["gen=1", "gen=2", "gen=3", "gen=x", ""]),
    st.sampled_from(["", "", "team=blue"]),
)
event_sets = st.frozensets(st.sampled_from(["message.received", "message.sent", "chat.created"]), min_size=1)


@st.composite
def worlds(draw: st.DrawFn) -> SimulatedLinq:
    """Draw own and foreign subscriptions in any state, and secrets that are stored, lost or orphaned."""
    urls = draw(st.lists(our_urls | st.sampled_from(FOREIGN_URLS), max_size=8, unique=True))
    there = {
        f"s-{number}": LinqSubscription(
            id=f"s-{number}",
            target_url=url,
            events=draw(event_sets),
            phone_numbers=draw(st.frozensets(st.sampled_from(LINES), max_size=2)),
            is_active=draw(st.booleans()),
        )
        for number, url in enumerate(urls)
    }
    held: dict[tuple[str | None, int], KeyRecord] = {}
    for subscription in there.values():
        target = our_target(PUBLIC, subscription.target_url)
        if target is not None and draw(st.booleans()):
            key = (target.line, target.generation or 0)
            subscription_id = draw(st.sampled_from([subscription.id, subscription.id, f"instead-of-{subscription.id}"]))
            held[key] = record(subscription_id, *key, retire_at=draw(st.sampled_from([None, None, int(NOW) - 1])))
    for line in draw(st.lists(st.sampled_from(LINES), max_size=2)):
        held.setdefault((line, 7), record(f"deleted-long-ago-{line}", line, 7))
    return SimulatedLinq(there, list(held.values()))


desired_states = st.builds(
    DesiredState,
    st.just(PUBLIC),
    st.lists(st.sampled_from(LINES[:3]), unique=True, min_size=1).map(tuple),
    event_sets,
    st.frozensets(st.sampled_from(["team_member.added", "brand.new"])),
)


def untouchable(world: SimulatedLinq) -> dict[str, LinqSubscription]:
    """Return the foreign subscriptions, and ours with an invalid line."""
    targets = {there.id: our_target(PUBLIC, there.target_url) for there in world.subscriptions.values()}
    return {
        there.id: there
        for there in world.subscriptions.values()
        if (target := targets[there.id]) is None or (target.named and target.line is None)
    }


@quick
@given(world=worlds(), want=desired_states)
def test_plan_converges_in_a_single_pass(world: SimulatedLinq, want: DesiredState) -> None:
    left_alone = untouchable(world)
    for step in world.plan(want):
        world.carry_out(step, want)
    again = world.plan(want)
    assert {step.action for step in again} == {Action.KEEP}
    assert sorted(str(step.line) for step in again) == sorted(map(str, want.owners))
    assert untouchable(world) == left_alone
    assert len(world.subscriptions) == len(left_alone) + len(want.owners)


@quick
@given(world=worlds(), want=desired_states)
def test_subscribed_line_always_keeps_a_subscription(world: SimulatedLinq, want: DesiredState) -> None:
    def covered() -> set[str]:
        targets = (our_target(PUBLIC, there.target_url) for there in world.subscriptions.values())
        return {str(target.line) for target in targets if target is not None} & set(want.lines)

    had = covered()
    for step in world.plan(want):
        world.carry_out(step, want)
        assert covered() >= had
        had = covered()


@quick
@given(world=worlds(), want=desired_states)
def test_plan_names_a_subscription_at_most_once(world: SimulatedLinq, want: DesiredState) -> None:
    steps = world.plan(want)
    named = [step.subscription_id for step in steps if step.subscription_id is not None]
    assert len(named) == len(set(named))
    made = [step.target_url for step in steps if step.action is Action.CREATE]
    assert len(made) == len(set(made))
    assert all(step.reason for step in steps)
