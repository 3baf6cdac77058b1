"""The status of lines, and the differences that a check counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.bootstrap.ownership.rivals import Rival
from relay.bootstrap.reconciling.v2 import V2DesiredState, V2Survey
from relay.bootstrap.status import KINDS, Status, differences, statuses
from relay.bootstrap.survey import Survey
from relay.core.line_secret import V2_FORMER_SECRET
from relay.core.secret import SigningSecret
from relay.linq.target_urls import target_url
from relay.store.keyring.last_seen import LastEvent
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
    v2_subscription,
)

if TYPE_CHECKING:
    from relay.linq.api.v2_models import V2Subscription
    from relay.linq.api.v3 import LinqSubscription
    from relay.store.keyring.record import KeyRecord

DAY = 86_400.0
NOTHING = dict.fromkeys(KINDS, 0)


def last_event(seconds_ago: float, generation: int = 1) -> LastEvent:
    return LastEvent(round((NOW - seconds_ago) * 1000), generation)


def status_of(there: list[LinqSubscription], held: list[KeyRecord], last: LastEvent | None = None) -> Status:
    """Return the status of a line in its own survey."""
    (row,) = statuses(Survey(desired_state(), there, held), {LINE: last} if last else {}, NOW, DAY)
    return row


def test_correct_line_is_ok() -> None:
    row = status_of([subscription()], [record()], last_event(60))
    assert row == Status(
        owner=LINE,
        generation=1,
        subscription_id="s-1",
        is_active=True,
        last_event_ms=round((NOW - 60) * 1000),
        last_generation=1,
        retiring=0,
        state="ok",
    )
    assert row.is_ok


def test_line_without_any_event_is_not_silent() -> None:
    row = status_of([subscription()], [record()])
    assert (row.last_event_ms, row.last_generation, row.state) == (None, None, "ok")


@pytest.mark.parametrize(
    ("there", "held", "state"),
    [
        ([], [], "the line has no subscription"),
        ([subscription()], [], Rival("s-1", LINE, None, is_active=True).what),
        ([replace(subscription(), is_active=False)], [record()], "inactive"),
    ],
)
def test_wrong_line_names_its_problem(there: list[LinqSubscription], held: list[KeyRecord], state: str) -> None:
    row = status_of(there, held, last_event(60))
    assert (row.state, row.is_ok) == (state, False)


def test_line_without_recent_events_is_silent() -> None:
    assert status_of([subscription()], [record()], last_event(DAY + 1)).state == "silent for 24h"
    assert status_of([subscription()], [record()], last_event(DAY - 1)).is_ok


def test_rotation_in_progress_is_ok() -> None:
    there = [subscription("s-1"), subscription("s-2", generation=2)]
    held = [record("s-1", retire_at=int(NOW) + 60), record("s-2", generation=2)]
    row = status_of(there, held, last_event(1, generation=1))
    assert (row.generation, row.retiring, row.last_generation, row.is_ok) == (2, 1, 1, True)


def test_account_is_listed_with_its_lines() -> None:
    want = replace(desired_state(), account_events=frozenset({"team_member.added"}))
    rows = statuses(Survey(want, [subscription()], [record()]), {}, NOW, DAY)
    assert [(row.owner, row.state) for row in rows] == [(LINE, "ok"), ("account", "the account has no subscription")]


def test_differences_are_counted_by_kind() -> None:
    lines = [LINE, OTHER_LINE, "+16465550130", "+16465550131"]
    there = [
        subscription("inactive", LINE, url=target_url(PUBLIC, LINE, 1)),
        replace(subscription("changed", OTHER_LINE), phone_numbers=frozenset()),
        subscription("fine", lines[2]),
        subscription("twin", lines[2], 2),
        subscription("gone", GONE_LINE),
        subscription("foreign", url=FOREIGN_URLS[0]),
        replace(subscription("foreign for all", url=FOREIGN_URLS[1]), phone_numbers=frozenset()),
        replace(subscription("foreign for others", url=FOREIGN_URLS[2]), phone_numbers=frozenset({GONE_LINE})),
    ]
    there[0] = replace(there[0], is_active=False)
    held = [record("inactive"), record("changed", OTHER_LINE), record("fine", lines[2])]
    survey = Survey(desired_state(*lines), there, held)
    found = differences(survey, {LINE: last_event(2 * DAY), OTHER_LINE: last_event(1)}, NOW, DAY)
    one_each = {"missing": 1, "changed": 1, "inactive": 1, "silent": 1}
    assert found == {**one_each, "extra": 2, "rival": 0, "malformed": 0, "foreign": 2}


def test_end_of_a_rotation_is_not_a_difference() -> None:
    there = [subscription("s-1"), subscription("s-2", generation=2)]
    held = [record("s-1", retire_at=int(NOW) - 1), record("s-2", generation=2)]
    assert differences(Survey(desired_state(), there, held), {}, NOW, DAY) == NOTHING


# --- v2 -----------------------------------------------------------------------------------------------


def v2_survey(*there: V2Subscription, holder: int | None = 1) -> V2Survey:
    return V2Survey(V2DesiredState(PUBLIC, EVENTS, SigningSecret("ours")), there, holder)


def test_v2_subscription_status() -> None:
    survey = v2_survey(v2_subscription())
    (row,) = statuses(survey, {"v2": last_event(60, generation=V2_FORMER_SECRET)}, NOW, DAY)
    assert (row.owner, row.generation, row.subscription_id, row.is_active, row.is_ok) == ("v2", 0, "1", True, True)
    assert row.last_generation == V2_FORMER_SECRET
    assert differences(survey, {}, NOW, DAY) == NOTHING


@pytest.mark.parametrize(
    ("survey", "state", "kind"),
    [
        (v2_survey(), "there is no v2 subscription", "missing"),
        (v2_survey(v2_subscription(active=False)), "inactive", "inactive"),
        (v2_survey(v2_subscription(), holder=None), "its secret may be another one", "changed"),
        (v2_survey(v2_subscription(), v2_subscription(id=2)), "ok", "extra"),
        (v2_survey(v2_subscription(), v2_subscription(id=2, webhook_url=FOREIGN_URLS[0])), "ok", "foreign"),
    ],
)
def test_v2_problem_is_shown_and_counted(survey: V2Survey, state: str, kind: str) -> None:
    assert [row.state for row in statuses(survey, {}, NOW, DAY)] == [state]
    assert differences(survey, {}, NOW, DAY) == {**NOTHING, kind: 1}


def test_v2_can_be_silent_too() -> None:
    last = {"v2": last_event(2 * DAY)}
    assert [row.state for row in statuses(v2_survey(v2_subscription()), last, NOW, DAY)] == ["silent for 48h"]
    assert differences(v2_survey(v2_subscription()), last, NOW, DAY) == {**NOTHING, "silent": 1}


def test_account_is_never_silent() -> None:
    want = replace(desired_state(), account_events=frozenset({"team_member.added"}))
    url = target_url(PUBLIC, None, 1)
    there = [
        subscription(),
        replace(subscription("s-2", url=url), phone_numbers=frozenset(), events=want.account_events),
    ]
    survey = Survey(want, there, [record(), record("s-2", None)])
    last = {"account": last_event(2 * DAY), LINE: last_event(1)}
    assert [row.state for row in statuses(survey, last, NOW, DAY)] == ["ok", "ok"]
    assert differences(survey, last, NOW, DAY) == NOTHING
