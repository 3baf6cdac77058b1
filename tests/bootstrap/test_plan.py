"""The plan: the changes at Linq, from the desired state, the existing subscriptions and the stored secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.bootstrap.plan import Action, Step, make_plan, make_rotation
from relay.linq.api.v3 import LinqSubscription
from relay.linq.target_urls import target_url
from tests.bootstrap.building import (
    EVENTS,
    FOREIGN_URLS,
    GONE_LINE,
    LINE,
    NOW,
    OTHER_LINE,
    PUBLIC,
    desired_state,
    record,
    subscription,
)

if TYPE_CHECKING:
    from relay.store.keyring.record import KeyRecord


def shape(steps: list[Step]) -> list[tuple[Action, str | None, int]]:
    return [(step.action, step.subscription_id, step.generation) for step in steps]


# --- A single line ------------------------------------------------------------------------------------


def test_line_without_subscription_gets_generation_one() -> None:
    assert make_plan(desired_state(), [], [], NOW) == [
        Step(
            Action.CREATE,
            LINE,
            1,
            "the line has no subscription",
            "https://relay.example.com/webhooks/linq?version=2026-02-03&line=16465550123&gen=1",
        )
    ]


def test_correct_subscription_is_kept() -> None:
    (step,) = make_plan(desired_state(), [subscription()], [record()], NOW)
    assert (step.action, step.subscription_id, step.reason) == (Action.KEEP, "s-1", "as it should be")


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (replace(subscription(), events=frozenset({"message.sent"})), "1 event type missing"),
        (replace(subscription(), events=EVENTS | {"chat.created", "message.read"}), "2 event types not wanted"),
        (replace(subscription(), phone_numbers=frozenset()), "not filtered by its line"),
        (replace(subscription(), phone_numbers=frozenset({OTHER_LINE})), "not filtered by its line"),
        (replace(subscription(), phone_numbers=frozenset({LINE, OTHER_LINE})), "not filtered by its line"),
        (replace(subscription(), is_active=False), "inactive"),
        (
            replace(subscription(), events=frozenset({"chat.created"}), phone_numbers=frozenset(), is_active=False),
            "2 event types missing, 1 event type not wanted, not filtered by its line, inactive",
        ),
    ],
)
def test_different_subscription_is_updated(there: LinqSubscription, reason: str) -> None:
    (step,) = make_plan(desired_state(), [there], [record()], NOW)
    assert (step.action, step.subscription_id, step.reason) == (Action.UPDATE, "s-1", reason)


def test_subscription_without_a_stored_secret_is_replaced() -> None:
    steps = make_plan(desired_state(), [subscription()], [], NOW)
    assert shape(steps) == [(Action.CREATE, None, 2), (Action.DELETE, "s-1", 1)]
    assert [step.reason for step in steps] == ["its secret is not stored here", "replaced"]


def test_subscription_with_a_foreign_secret_is_replaced() -> None:
    steps = make_plan(desired_state(), [subscription("s-2")], [record("s-1")], NOW)
    assert shape(steps) == [(Action.CREATE, None, 2), (Action.DELETE, "s-2", 1)]


def test_secret_of_another_line_is_not_used() -> None:
    steps = make_plan(desired_state(), [subscription()], [record(line=OTHER_LINE), record(line=None)], NOW)
    assert shape(steps) == [(Action.CREATE, None, 2), (Action.DELETE, "s-1", 1)]


@pytest.mark.parametrize("query", ["version=2025-01-01&line=16465550123&gen=1", "line=16465550123&gen=1"])
def test_subscription_of_another_version_is_replaced(query: str) -> None:
    there = subscription(url=f"{PUBLIC}/webhooks/linq?{query}")
    steps = make_plan(desired_state(), [there], [record()], NOW)
    assert shape(steps) == [(Action.CREATE, None, 2), (Action.DELETE, "s-1", 1)]
    assert steps[0].reason == "its payload version is not 2026-02-03"


def test_missing_generation_counts_as_zero() -> None:
    there = subscription(url=f"{PUBLIC}/webhooks/linq?version=2026-02-03&line=16465550123")
    assert shape(make_plan(desired_state(), [there], [], NOW)) == [(Action.CREATE, None, 1), (Action.DELETE, "s-1", 0)]
    assert shape(make_plan(desired_state(), [there], [record(generation=0)], NOW)) == [(Action.KEEP, "s-1", 0)]


def test_foreign_parameters_in_our_url_are_tolerated() -> None:
    there = subscription(url=target_url(PUBLIC, LINE, 1) + "&team=blue")
    assert shape(make_plan(desired_state(), [there], [record()], NOW)) == [(Action.KEEP, "s-1", 1)]


# --- Several subscriptions of one line ----------------------------------------------------------------


def test_newest_usable_generation_is_kept() -> None:
    there = [subscription("s-1", generation=1), subscription("s-2", generation=2)]
    steps = make_plan(desired_state(), there, [record("s-1", generation=1), record("s-2", generation=2)], NOW)
    assert shape(steps) == [(Action.DELETE, "s-1", 1), (Action.KEEP, "s-2", 2)]
    assert steps[0].reason == "another subscription of this line is in use"


def test_subscription_with_a_stored_secret_is_kept() -> None:
    there = [subscription("s-1", generation=1), subscription("s-2", generation=2)]
    assert shape(make_plan(desired_state(), there, [record("s-1")], NOW)) == [
        (Action.DELETE, "s-2", 2),
        (Action.KEEP, "s-1", 1),
    ]


def test_subscription_of_the_right_version_is_kept() -> None:
    newer = subscription("s-2", url=f"{PUBLIC}/webhooks/linq?version=2025-01-01&line=16465550123&gen=2")
    there = [subscription("s-1"), newer]
    steps = make_plan(desired_state(), there, [record("s-1"), record("s-2", generation=2)], NOW)
    assert shape(steps) == [(Action.DELETE, "s-2", 2), (Action.KEEP, "s-1", 1)]


def test_unusable_subscriptions_are_all_replaced() -> None:
    there = [subscription(f"s-{generation}", generation=generation) for generation in (1, 2, 3)]
    assert shape(make_plan(desired_state(), there, [], NOW)) == [
        (Action.CREATE, None, 4),
        (Action.DELETE, "s-3", 3),
        (Action.DELETE, "s-2", 2),
        (Action.DELETE, "s-1", 1),
    ]


# --- Generations --------------------------------------------------------------------------------------


def test_new_generation_is_above_all_known_ones() -> None:
    (step,) = make_plan(desired_state(), [], [record("s-7", generation=7)], NOW)
    assert (step.generation, step.target_url) == (8, target_url(PUBLIC, LINE, 8))
    create, *_ = make_plan(desired_state(), [subscription("s-9", generation=9)], [record("s-7", generation=7)], NOW)
    assert create.generation == 10


def test_generations_of_other_lines_do_not_count() -> None:
    there = [subscription("s-9", line=OTHER_LINE, generation=9)]
    steps = make_plan(desired_state(LINE, OTHER_LINE), there, [record("s-9", OTHER_LINE, 9)], NOW)
    assert [(step.action, step.line, step.generation) for step in steps] == [
        (Action.CREATE, LINE, 1),
        (Action.KEEP, OTHER_LINE, 9),
    ]


# --- Foreign and removed subscriptions ----------------------------------------------------------------


@pytest.mark.parametrize("url", FOREIGN_URLS)
def test_foreign_subscription_is_never_touched(url: str) -> None:
    steps = make_plan(desired_state(), [subscription("foreign", url=url), subscription()], [record()], NOW)
    assert shape(steps) == [(Action.KEEP, "s-1", 1)]


@pytest.mark.parametrize("query", ["?version=2026-02-03&line=", "?line=nobody&gen=3"])
def test_subscription_with_an_invalid_line_is_left_alone(query: str) -> None:
    odd = subscription("odd", url=f"{PUBLIC}/webhooks/linq{query}")
    assert shape(make_plan(desired_state(), [odd, subscription()], [record()], NOW)) == [(Action.KEEP, "s-1", 1)]


# --- The account's own subscription -------------------------------------------------------------------


def of_the_account(generation: int = 1) -> LinqSubscription:
    url = target_url(PUBLIC, None, generation)
    return LinqSubscription(f"a-{generation}", url, frozenset({"team_member.added"}), frozenset(), is_active=True)


def test_lineless_events_get_an_unfiltered_subscription() -> None:
    want = replace(desired_state(), account_events=frozenset({"team_member.added"}))
    step, _ = make_plan(want, [subscription()], [record()], NOW)
    assert (step.action, step.line, step.reason) == (Action.CREATE, None, "the account has no subscription")
    assert step.target_url == "https://relay.example.com/webhooks/linq?version=2026-02-03&gen=1"
    steps = make_plan(want, [subscription(), of_the_account()], [record(), record("a-1", None)], NOW)
    assert {step.action for step in steps} == {Action.KEEP}


def test_account_subscription_must_not_be_filtered() -> None:
    want = replace(desired_state(), account_events=frozenset({"team_member.added"}))
    there = replace(of_the_account(), phone_numbers=frozenset({LINE}))
    step, _ = make_plan(want, [subscription(), there], [record(), record("a-1", None)], NOW)
    assert (step.action, step.subscription_id, step.reason) == (Action.UPDATE, "a-1", "filtered by lines")


@pytest.mark.parametrize("query", ["", "?version=2026-02-03", "?version=2026-02-03&gen=3"])
def test_unwanted_account_subscription_is_deleted(query: str) -> None:
    account = subscription("account", url=f"{PUBLIC}/webhooks/linq{query}")
    step, _ = make_plan(desired_state(), [account, subscription()], [record()], NOW)
    assert (step.action, step.subscription_id) == (Action.DELETE, "account")
    assert step.reason == "no event without a line is wanted"


# --- Rotation -----------------------------------------------------------------------------------------


def test_rotation_creates_a_successor_and_retires_the_old() -> None:
    steps = make_rotation(desired_state(), [subscription()], [record()], [LINE], NOW + 60)
    assert shape(steps) == [(Action.CREATE, None, 2), (Action.RETIRE, "s-1", 1)]
    assert (steps[0].reason, steps[1].retire_at) == ("rotation", NOW + 60)


def test_line_without_a_usable_secret_is_not_rotated() -> None:
    assert make_rotation(desired_state(), [subscription()], [], [LINE, OTHER_LINE], NOW) == []


def test_retired_subscription_is_kept_until_its_expiry() -> None:
    there = [subscription("s-1"), subscription("s-2", generation=2)]
    held = [record("s-1", retire_at=int(NOW) + 60), record("s-2", generation=2)]
    before = make_plan(desired_state(), there, held, NOW)
    assert shape(before) == [(Action.KEEP, "s-2", 2), (Action.KEEP, "s-1", 1)]
    assert before[1].reason.startswith("retires at 2026-09-1")
    after = make_plan(desired_state(), there, held, NOW + 61)
    assert shape(after) == [(Action.DELETE, "s-1", 1), (Action.KEEP, "s-2", 2)]
    assert after[0].ends_rotation


def test_retired_subscription_is_kept_without_successor() -> None:
    held = [record("s-1", retire_at=int(NOW) - 60), record("s-2", generation=2)]
    assert shape(make_plan(desired_state(), [subscription("s-1")], held, NOW)) == [(Action.KEEP, "s-1", 1)]


@pytest.mark.parametrize("secrets", [[], [record("s-9", GONE_LINE)]], ids=["without secret", "with secret"])
def test_subscription_of_a_removed_line_is_deleted(secrets: list[KeyRecord]) -> None:
    there = [subscription(), subscription("s-9", GONE_LINE)]
    steps = make_plan(desired_state(), there, [record(), *secrets], NOW)
    assert shape(steps) == [(Action.DELETE, "s-9", 1), (Action.KEEP, "s-1", 1)]
    assert (steps[0].line, steps[0].reason) == (GONE_LINE, "the line is no longer wanted")


@pytest.mark.parametrize(
    "public_url", ["https://relay.example.com/", "https://RELAY.example.com", "https://Relay.Example.Com/"]
)
def test_our_url_is_recognised_in_any_spelling(public_url: str) -> None:
    assert shape(make_plan(desired_state(public_url=public_url), [subscription()], [record()], NOW)) == [
        (Action.KEEP, "s-1", 1)
    ]


def test_public_url_path_separates_subscriptions() -> None:
    below = "https://relay.example.com/blue"
    there = [subscription(), subscription("s-2", url=target_url(below, LINE, 1))]
    steps = make_plan(desired_state(public_url=below), there, [record("s-2")], NOW)
    assert shape(steps) == [(Action.KEEP, "s-2", 1)]


# --- Order of the steps -------------------------------------------------------------------------------


def test_creations_come_before_deletions() -> None:
    lines = [f"+1646555012{digit}" for digit in range(4)]
    there = [
        subscription("s-0", lines[0]),
        replace(subscription("s-1", lines[1]), is_active=False),
        subscription("s-2", lines[2]),
        subscription("s-9", GONE_LINE),
    ]
    steps = make_plan(desired_state(*lines), there, [record("s-0", lines[0]), record("s-1", lines[1])], NOW)
    assert [(step.action, step.line) for step in steps] == [
        (Action.CREATE, lines[2]),
        (Action.CREATE, lines[3]),
        (Action.UPDATE, lines[1]),
        (Action.DELETE, lines[2]),
        (Action.DELETE, GONE_LINE),
        (Action.KEEP, lines[0]),
    ]
