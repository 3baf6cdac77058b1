"""Conditions on more than an event's fields, on real payloads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relay.core.config.topics import Topic, TopicIndex, mismatches
from relay.core.event import Dialect, Event
from relay.linq.payloads.content import BodyContent
from relay.linq.payloads.decode import decode
from tests.building import CUSTOMER, LINE, OTHER_LINE
from tests.cli.test_explain_event import sample
from tests.properties import json_values, quick

if TYPE_CHECKING:
    from collections.abc import Iterable

FRIEND = "mara.osei@example.com"


class Facts:
    """Reads bodies, and keeps what was undecided."""

    def __init__(self) -> None:
        self.read_times = 0
        self.told: list[tuple[str, str]] = []

    def read(self, _: Event, body: bytes) -> BodyContent:
        self.read_times += 1
        return BodyContent(body)

    def undecided(self, topic: str, _: Event, reason: str) -> None:
        self.told.append((topic, reason))


def topic(name: str = "t", **rule: Any) -> Topic:
    return Topic.model_validate({"name": name, "events": ["*"], **rule})


def webhook(name: str = "v3-message.received", account: str | None = None, **data: Any) -> tuple[Event, bytes]:
    """Return a documented payload with other `data`, as an event and its body."""
    envelope = json.loads(sample(name).read_bytes())
    envelope["data"].update(data)
    body = json.dumps(envelope).encode()
    return decode(Dialect(envelope["api_version"]), body, None).event._replace(account=account), body


def reasons(rule: dict[str, Any], name: str = "v3-message.received", **data: Any) -> list[str]:
    """Return why the event is not in the topic, once it is certain that the index agrees."""
    wanted, facts = topic(**rule), Facts()
    event, body = webhook(name, **data)
    found = mismatches(wanted, event, BodyContent(body))
    assert TopicIndex([wanted]).match(event, body, facts) == (() if found else ("t",))
    return found


@pytest.mark.parametrize(
    ("rule", "name", "reason"),
    [
        ({"sender": CUSTOMER}, "v3-message.received", None),
        ({"sender": CUSTOMER}, "v3-message.received-2025-01-01", None),
        ({"sender": "+1 303 555 0188"}, "v2-message.received", None),
        ({"sender": [OTHER_LINE, CUSTOMER]}, "v3-reaction.added", None),
        ({"sender": CUSTOMER}, "v3-message.sent", f"sender is {LINE}, not {CUSTOMER}"),
        ({"sender": CUSTOMER}, "v3-chat.created", f"sender is unknown, not {CUSTOMER}"),
        ({"sender": LINE}, "v3-message.sent", None),
        ({"sender": LINE}, "v3-message.sent-2025-01-01", None),
        ({"sender": LINE}, "v2-message.sent", None),
        ({"not_sender": CUSTOMER}, "v3-message.sent", None),
        ({"not_sender": CUSTOMER}, "v3-chat.created", None),
        ({"not_sender": [LINE, CUSTOMER]}, "v2-call.completed", f"sender is {CUSTOMER}, which not_sender excludes"),
        ({"api": "v3"}, "v3-message.received-2025-01-01", None),
        ({"api": "v3"}, "v2-message.received", "api is v2, not v3"),
        ({"api": "v2"}, "v3-message.received", "api is v3, not v2"),
        ({"account": "staging"}, "v3-message.received", "account is unknown, not staging"),
        ({"has_media": True}, "v3-message.sent", None),
        ({"has_media": True}, "v3-message.received", "has_media is false, not true"),
        ({"has_media": False}, "v2-message.received", None),
        ({"has_media": False}, "v3-chat.created", "has_media is unknown, not false"),
        ({"opt_out": "stop"}, "v3-message.received", "opt_out is neither stop nor start, not stop"),
        ({"opt_out": True}, "v3-message.received", "the event is neither an opt-out nor its end"),
        ({"where": "data.service == 'iMessage'"}, "v3-message.received", None),
        ({"where": "event_type == 'x'"}, "v3-message.received", "where is not true: event_type == 'x'"),
        ({"where": "data.nothing.at_all"}, "v3-message.received", "where is not true: data.nothing.at_all"),
    ],
)
def test_condition_holds_or_has_a_reason(rule: dict[str, Any], name: str, reason: str | None) -> None:
    assert reasons(rule, name) == ([] if reason is None else [reason])


@pytest.mark.parametrize("name", ["v3-message.received", "v3-message.received-2025-01-01", "v2-message.received"])
@pytest.mark.parametrize(
    ("text", "wanted", "holds"),
    [(" stop\n", "stop", True), ("UnStop", "start", True), ("Quit", True, True), ("START", "stop", False)],
)
def test_opt_out_is_read_in_every_version(name: str, text: str, wanted: str | bool, holds: bool) -> None:  # noqa: FBT001
    parts = [{"type": "text", "value": text}]
    data = {"message": {"id": "m", "parts": parts}} if "2025" in name else {"parts": parts}
    assert (reasons({"opt_out": wanted}, name, **({"text": text} if name.startswith("v2") else data)) == []) is holds


def test_account_of_an_event_is_compared() -> None:
    event, body = webhook(account="staging")
    index = TopicIndex([topic("both", account=["live", "staging"]), topic("live", account="live")])
    assert index.match(event, body, Facts()) == ("both",)
    assert mismatches(topic(account="live"), event, BodyContent(body)) == ["account is staging, not live"]


def test_e_mail_addresses_are_compared_in_lower_case() -> None:
    data: dict[str, Any] = {"sender_handle": {"handle": "Mara.Osei@Example.com", "is_me": False}}
    assert reasons({"sender": "MARA.OSEI@example.COM"}, **data) == []
    assert reasons({"not_sender": FRIEND}, **data) == [f"sender is {FRIEND}, which not_sender excludes"]


def test_body_is_read_once_and_only_for_topics_that_ask() -> None:
    event, body = webhook()
    facts = Facts()
    plain = [topic("inbound", direction="inbound", api="v3"), topic("all")]
    assert TopicIndex(plain).match(event, body, facts) == ("inbound", "all")
    assert facts.read_times == 0
    asking = [*plain, topic("media", has_media=False), topic("from", sender=CUSTOMER)]
    assert TopicIndex(asking).match(event, body, facts) == ("inbound", "all", "media", "from")
    assert facts.read_times == 1


def test_expression_without_a_result_costs_only_its_own_topic() -> None:
    event, body = webhook()
    facts = Facts()
    topics = [
        topic("first"),
        topic("text", where="data.service"),
        topic("bad", where="length(data.effect) > `0`"),
        topic("z"),
    ]
    assert TopicIndex(topics).match(event, body, facts) == ("first", "z")
    assert facts.told == [
        ("text", "where has no result, since it yields a text, not true or false: data.service"),
        (
            "bad",
            (
                "where has no result, since length() needs string or array or object and gets null: "
                "length(data.effect) > `0`"
            ),
        ),
    ]


def test_expression_is_evaluated_after_all_other_conditions() -> None:
    event, body = webhook()
    facts = Facts()
    index = TopicIndex([topic(where="data.service", direction="outbound")])
    assert (index.match(event, body, facts), facts.told) == ((), [])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"sender": "12"}, '"12" is neither a phone number with its country code'),
        ({"sender": []}, "at least 1 item"),
        ({"sender": [CUSTOMER], "not_sender": "+1 303 555 0188"}, '"sender" and "not_sender" both have'),
        ({"api": "v1"}, "'v3' or 'v2'"),
        ({"opt_out": False}, "'stop', 'start' or True"),
        ({"where": "data.["}, "it is not JMESPath: it ends too early"),
    ],
)
def test_mistakes_are_named(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        topic(**rule)


# --- match agrees with mismatches -------------------------------------------------------------------

HANDLES = [CUSTOMER, LINE, FRIEND]
EXPRESSIONS = ["data.service == 'SMS'", "data.parts[?type == 'media'] | [0]", "length(data.parts) > `1`", "data"]
rules = st.fixed_dictionaries(
    {},
    optional={
        "direction": st.sampled_from(["inbound", "outbound"]),
        "api": st.sampled_from(["v3", "v2"]),
        "account": st.sampled_from(["live", "staging"]),
        "sender": st.sampled_from(HANDLES),
        "not_sender": st.just("+15035550100") | st.just("else@example.com"),
        "has_media": st.booleans(),
        "opt_out": st.sampled_from(["stop", "start", True]),
        "where": st.sampled_from(EXPRESSIONS),
    },
)
parts: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict, type=st.sampled_from(["text", "media", 7]), value=st.sampled_from(["STOP", "hi", None])
)
datas = st.fixed_dictionaries(
    {},
    optional={
        "direction": st.sampled_from(["inbound", "outbound"]),
        "service": st.sampled_from(["SMS", "RCS"]),
        "sender_handle": st.builds(dict, handle=st.sampled_from(HANDLES)) | st.sampled_from(HANDLES) | json_values,
        "parts": st.lists(parts, max_size=3) | json_values,
        "attachments": json_values,
        "text": st.sampled_from(["stop", "no"]) | json_values,
    },
)


@quick
@given(
    st.lists(rules, max_size=6),
    st.sampled_from(Dialect),
    st.sampled_from(["message.received", "message.sent"]),
    datas,
    st.sampled_from([None, "live"]),
)
def test_match_agrees_with_the_reasons(
    drawn: list[dict[str, Any]], dialect: Dialect, event_type: str, data: dict[str, Any], account: str | None
) -> None:
    topics = [topic(f"t-{place}", **rule) for place, rule in enumerate(drawn)]
    body = json.dumps({"event_id": "e", "event_type": event_type, "data": data}).encode()
    event = decode(dialect, body, LINE).event._replace(account=account)
    expected = tuple(each.name for each in topics if not mismatches(each, event, BodyContent(body)))
    facts = Facts()
    assert TopicIndex(topics).match(event, body, facts) == expected
    assert {name for name, _ in facts.told}.isdisjoint(expected)
    assert all(_agree(each, event, body) for each in topics)


def _agree(wanted: Topic, event: Event, body: bytes) -> bool:
    """Return True if all conditions hold exactly if there is no reason against it."""
    checks: Iterable[str | None] = (each.check(event, BodyContent(body)) for each in wanted.conditions)
    return all(why is None for why in checks) is not bool(mismatches(wanted, event, BodyContent(body)))
