"""The plan for the v2 API, from the desired state, the existing subscriptions and the holder of our secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bootstrap.desired import requested_v2_events
from relay.bootstrap.plan import Action, Step
from relay.bootstrap.reconciling.v2 import V2DesiredState, make_v2_plan
from relay.core.config.relay_toml import parse_config
from relay.core.errors import LinqApiError
from relay.core.event import Dialect
from relay.core.secret import SigningSecret
from relay.linq.api.v2_models import V2Subscription
from relay.linq.payloads.event_types import V2_TYPES
from tests.bootstrap.building import EVENTS, v2_subscription
from tests.properties import quick

PUBLIC = "https://relay.example.com/below"
URL = f"{PUBLIC}/webhooks/linq/v2"
WANTED = V2DesiredState(PUBLIC, EVENTS, SigningSecret("our-own-secret"))
FOREIGN_URLS = (
    "https://relay.example.com/webhooks/linq/v2",
    "https://elsewhere.example.com/below/webhooks/linq/v2",
    f"{PUBLIC}/webhooks/linq",
    f"{URL}/",
    f"{URL}x",
    URL.replace("https:", "http:"),
    "",
    "https://[broken",
)


def there(subscription_id: int = 7, **fields: Any) -> V2Subscription:
    """Return our subscription, correct except for `fields`."""
    return v2_subscription(**{"id": subscription_id, "webhook_url": URL, **fields})


def shape(steps: list[Step]) -> list[tuple[Action, str | None]]:
    return [(step.action, step.subscription_id) for step in steps]


def test_omitted_fields_are_not_a_difference() -> None:
    bare = V2Subscription.model_validate({"id": 7, "webhook_url": URL, "events": sorted(EVENTS)})
    assert shape(make_v2_plan(WANTED, [bare], 7)) == [(Action.KEEP, "7")]


def test_missing_subscription_is_created() -> None:
    assert make_v2_plan(WANTED, [], None) == [
        Step(Action.CREATE, None, 0, "there is no v2 subscription", URL, dialect=Dialect.V2)
    ]


def test_correct_subscription_is_kept() -> None:
    assert make_v2_plan(WANTED, [there()], 7) == [
        Step(Action.KEEP, None, 0, "as it should be", URL, "7", dialect=Dialect.V2)
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"events": {"message.sent"}}, "1 event type missing"),
        ({"events": EVENTS | {"chat.created", "hologram.projected"}}, "2 event types not wanted"),
        ({"events": set()}, "2 event types missing"),
        ({"active": False}, "inactive"),
        ({"version": 1}, "its version is not 2"),
        ({"secret_configured": False}, "without a secret"),
        ({"webhook_url": URL + "?x=1"}, "its URL has more than it should"),
        ({"active": False, "events": {"message.sent"}}, "1 event type missing, inactive"),
    ],
)
def test_different_subscription_is_updated(fields: dict[str, Any], reason: str) -> None:
    (step,) = make_v2_plan(WANTED, [there(**fields)], 7)
    assert (step.action, step.subscription_id, step.reason) == (Action.UPDATE, "7", reason)


@pytest.mark.parametrize("holder", [None, 8])
def test_uncertain_secret_is_updated(holder: int | None) -> None:
    (step,) = make_v2_plan(WANTED, [there()], holder)
    assert (step.action, step.reason) == (Action.UPDATE, "its secret may be another one")


def test_duplicate_with_our_secret_is_kept() -> None:
    steps = make_v2_plan(WANTED, [there(7), there(8), there(9)], 8)
    assert shape(steps) == [(Action.DELETE, "7"), (Action.DELETE, "9"), (Action.KEEP, "8")]
    assert steps[0].reason == "Linq would deliver every event twice"


def test_duplicate_at_the_exact_url_gets_the_secret() -> None:
    steps = make_v2_plan(WANTED, [there(7, webhook_url=URL + "?x=1"), there(9), there(8)], None)
    assert shape(steps) == [(Action.UPDATE, "8"), (Action.DELETE, "9"), (Action.DELETE, "7")]


@pytest.mark.parametrize("url", FOREIGN_URLS)
def test_subscriptions_of_others_are_left_alone(url: str) -> None:
    assert shape(make_v2_plan(WANTED, [there(7, webhook_url=url)], 7)) == [(Action.CREATE, None)]
    assert shape(make_v2_plan(WANTED, [there(7, webhook_url=url), there(8)], 8)) == [(Action.KEEP, "8")]


def test_plan_does_not_show_the_secret() -> None:
    assert "our-own-secret" not in repr(WANTED)
    assert "our-own-secret" not in repr(make_v2_plan(WANTED, [there(7), there(8)], None))


rows = st.builds(
    there,
    st.integers(1, 20),
    webhook_url=st.sampled_from([URL, URL, URL + "?x=1", *FOREIGN_URLS]),
    events=st.frozensets(st.sampled_from(V2_TYPES), max_size=3) | st.just(EVENTS),
    active=st.booleans(),
    secret_configured=st.booleans(),
)


@quick
@given(st.lists(rows, max_size=6, unique_by=lambda row: row.id), st.none() | st.integers(1, 20))
def test_plan_converges_in_a_single_pass(existing: list[V2Subscription], holder: int | None) -> None:
    at_linq = {subscription.id: subscription for subscription in existing}
    foreign = {subscription.id: subscription for subscription in existing if subscription.webhook_url in FOREIGN_URLS}
    for step in make_v2_plan(WANTED, existing, holder):
        match step.action:
            case Action.DELETE:
                del at_linq[int(str(step.subscription_id))]
            case Action.CREATE | Action.UPDATE:
                holder = int(step.subscription_id or 100)
                at_linq[holder] = there(holder)
            case Action.KEEP | Action.RETIRE | Action.HOLD:
                assert step.action is Action.KEEP
    assert shape(make_v2_plan(WANTED, at_linq.values(), holder)) == [(Action.KEEP, str(holder))]
    assert len(at_linq) == len(foreign) + 1
    assert at_linq.items() >= foreign.items()


# --- Selected events ----------------------------------------------------------------------------------

TOPIC = '[[topics]]\nname = "t"\nevents = ["message.*", "reaction.added", "chat.created"]\n'


def test_events_default_to_those_of_the_topics() -> None:
    config = parse_config("[linq]\nevents = ['call.*']\n[linq.v2]\n" + TOPIC)
    assert requested_v2_events(config) == {"message.sent", "message.received", "message.read", "chat.created"}


def test_patterns_select_v2_event_types() -> None:
    config = parse_config('[linq.v2]\nevents = ["call.*", "contact.created"]\n' + TOPIC)
    assert requested_v2_events(config) == {"call.completed", "contact.created"}
    assert requested_v2_events(parse_config('[linq.v2]\nevents = ["*"]')) == set(V2_TYPES)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ("[linq.v2]", "no topic of relay.toml requests an event type that Linq's v2 API offers"),
        ('[linq.v2]\nevents = ["message.failed"]\n' + TOPIC, "relay.toml requests no event type that Linq's v2 API"),
    ],
)
def test_empty_event_selection_is_an_error(rules: str, sentence: str) -> None:
    with pytest.raises(LinqApiError, match=sentence):
        requested_v2_events(parse_config(rules))
