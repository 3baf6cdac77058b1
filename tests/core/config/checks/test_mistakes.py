"""Every kind of mistake in relay.toml and its error message."""

from __future__ import annotations

import textwrap

import pytest

from relay.core.config.relay_toml import parse_config
from relay.core.errors import ConfigError
from tests.core.writing import subscription_with, topic_with


def problems_of(text: str) -> list[str]:
    """Return the problems of `text`, each as `line path: sentence`."""
    with pytest.raises(ConfigError) as caught:
        parse_config(textwrap.dedent(text))
    assert str(caught.value).startswith("relay.toml cannot be used:\n")
    return [str(problem).removeprefix("relay.toml:") for problem in caught.value.problems]


NOT_A_NAME = 'is not a name; use letters, digits, ".", "_" and "-", at most 64'
NOT_A_PATTERN = (
    'is not an event-type pattern; write an event type ("message.received"), a family ("message.*") or everything ("*")'
)
NOT_A_DURATION = 'is not a duration; write a number and a unit, such as "250ms", "5s", "2m", "1h" or "7d"'
NOT_A_URL = (
    "is not an http or https URL; percent-encode special characters of the user name and the password "
    "(/ is %2F, @ %40, : %3A, # %23, ? %3F)"
)
NOT_A_SECRET = 'write the secret as "env:NAME", "file:PATH" or "whsec_..." (make one with `relay secret generate`)'
EMPTY = "the list is empty; write at least one item"

MISTAKES_OF_TOPICS = [
    ("colour = 1", 'colour: unknown key "colour"'),
    ("events = []", f"events: {EMPTY}"),
    ("events = [7]", "events[0]: it must be a string"),
    ('events = ["*", "message"  , ".*"]', f'events[2]: ".*" {NOT_A_PATTERN}'),
    ('events = [""]', f'events[0]: "" {NOT_A_PATTERN}'),
    ("lines = []", f"lines: {EMPTY}, or remove the key"),
    ('lines = ["16465550123"]', 'lines[0]: "16465550123" is not a phone number in E.164, such as "+16465550123"'),
    (
        'lines = ["+16465550123", "+1 (646) 555-0124"]',
        'lines[1]: "+1 (646) 555-0124" is not a phone number in E.164; did you mean "+16465550124"?',
    ),
    ("lines = [16465550123]", "lines[0]: it must be a string"),
    ('direction = "in"', 'direction: it must be "inbound" or "outbound"'),
    ('service = "Fax"', 'service[0]: it must be "iMessage", "RCS" or "SMS"'),
    ('service = ["SMS", "sms"]', 'service[1]: it must be "iMessage", "RCS" or "SMS"'),
    ("service = []", f"service: {EMPTY}, or remove the key"),
    ('is_group = "yes"', "is_group: it must be true or false"),
    ("is_group = 1", "is_group: it must be true or false"),
    ('freshness = "fresh"', 'freshness: it must be "live" or "history"'),
    ('keep = "forever"', f'keep: "forever" {NOT_A_DURATION}'),
    ('size = "many"', 'size: "many" is not a size, such as "500MB" or "2GiB"'),
    ("size = 5", "size: write it as a string, not as 5"),
    ('size = "10kB"', 'size: "10kB" is less than 1MB, which is too small for a burst of events'),
]


def test_block_on_dead_needs_ordered() -> None:
    [problem] = problems_of(subscription_with(block_on_dead="true"))
    assert problem.endswith(': "block_on_dead" needs ordered = "chat"; add it, or remove "block_on_dead"')


def test_wait_longer_than_max_age_is_refused() -> None:
    [problem] = problems_of(subscription_with(retry='["5s", "100h"]'))
    assert problem.endswith(
        '"retry" has a wait of 100h, but "max_age" ends the attempts after 72h; shorten the wait or raise max_age'
    )


@pytest.mark.parametrize("rate", ["inf", "nan", "true", "0", "-1.5"])
def test_invalid_rate_is_reported(rate: str) -> None:
    assert problems_of(subscription_with(rate=rate))


def test_hard_size_below_size_is_reported() -> None:
    text = topic_with('size = "2GB"\nhard_size = "1GB"')
    assert problems_of(text) == ['1 topics[0]: "hard_size" must be at least "size"']


@pytest.mark.parametrize(("line", "problem"), MISTAKES_OF_TOPICS, ids=[line for line, _ in MISTAKES_OF_TOPICS])
def test_mistake_in_topic_is_reported_with_its_line(line: str, problem: str) -> None:
    assert problems_of(topic_with(line)) == [f"3 topics[0].{problem}"]


MISTAKES_OF_SUBSCRIPTIONS = [
    (9, "attempts", '{ keep = "long" }', f'attempts.keep: "long" {NOT_A_DURATION}'),
    (9, "attempts", "{ count = 5 }", 'attempts.count: unknown key "count"'),
    (5, "name", '"a b"', f'name: "a b" {NOT_A_NAME}'),
    (5, "name", '""', f'name: "" {NOT_A_NAME}'),
    (5, "name", '"-a"', f'name: "-a" {NOT_A_NAME}'),
    (5, "name", f'"{"x" * 65}"', f'name: "{"x" * 65}" {NOT_A_NAME}'),
    (5, "name", '"a\\n"', f'name: "a\n" {NOT_A_NAME}'),
    (5, "name", "5", "name: it must be a string"),
    (6, "topic", '"T"', 'topic: there is no topic "T" (topics: t)'),
    (6, "topic", "5", "topic: it must be a string"),
    (7, "url", '"support-bot.internal"', 'url: "support-bot.internal" is not an http or https URL'),
    (7, "url", '"ftp://a.b"', 'url: "ftp://a.b" is not an http or https URL'),
    (7, "url", '"http://"', 'url: "http://" is not an http or https URL'),
    (7, "url", '"http://a.b:0/"', 'url: "http://a.b:0/" is not an http or https URL'),
    (7, "url", '"http://a.b:65536/"', 'url: "http://a.b:65536/" is not an http or https URL'),
    (7, "url", '"http://a.b:x/"', 'url: "http://a.b:x/" is not an http or https URL'),
    (7, "url", '"http://[::1"', 'url: "http://[::1" is not an http or https URL'),
    (7, "url", '"http://a b/"', 'url: "http://a b/" is not an http or https URL'),
    (7, "url", '"http://bot:hunter2@a b/?token=hunter2"', f'url: "http://***@a b/?token=***" {NOT_A_URL}'),
    (7, "url", '"http://bot:hun/ter2@a.b/"', f'url: "http://***@a.b/" {NOT_A_URL}'),
    (7, "url", '""', 'url: "" is not an http or https URL'),
    (7, "url", "80", "url: it must be a string"),
    (8, "secret", '"hunter2"', f"secret: {NOT_A_SECRET}"),
    (8, "secret", '"env:"', f"secret: {NOT_A_SECRET}"),
    (8, "secret", "5", "secret: it must be a string"),
    (8, "secret", "[]", f"secret: {EMPTY}"),
    (8, "secret", '["env:A", "hunter2"]', f"secret[1]: {NOT_A_SECRET}"),
    (8, "secret", '["env:A", "env:B", "env:A"]', "secret: a secret is listed twice; remove one of them"),
    (8, "secret", '["env:A", "env:B", "env:C", "env:D", "env:E", "env:F"]', "secret: the list has more than 5 items"),
    (9, "headers", '"X: y"', 'headers: write a table, such as { "X-Team" = "crm" }'),
    (9, "headers", '{ "X-Team" = 5 }', "headers.X-Team: it must be a string"),
    (9, "auth", "{ bearer = 12345 }", "auth.bearer: it must be a string"),
    (9, "verify_tls", '"no"', "verify_tls: it must be true or false"),
    (9, "ca_file", "5", "ca_file: it must be a string"),
    (9, "retry", '["5"]', f'retry[0]: "5" {NOT_A_DURATION}'),
    (9, "retry", '["5s", 5]', "retry[1]: write it as a string, not as 5"),
    (9, "retry", '["5s", "-5s"]', f'retry[1]: "-5s" {NOT_A_DURATION}'),
    (9, "retries", "5", 'retries: unknown key "retries"'),
    (9, "max_age", '"old"', f'max_age: "old" {NOT_A_DURATION}'),
    (9, "timeout", '"2m"', "timeout: it must be at most 60"),
    (9, "connect_timeout", '"0s"', "connect_timeout: it must be at least 0.1"),
    (9, "concurrency", "0", "concurrency: it must be at least 1"),
    (9, "concurrency", "201", "concurrency: it must be at most 200"),
    (9, "rate", "0", "rate: it must be more than 0"),
    (9, "paused", '"yes"', "paused: it must be true or false"),
    (9, "breaker", "1", "breaker: it must be true or false"),
    (9, "retry_4xx", "[]", "retry_4xx: it must be true or false"),
    (9, "events", "[]", f"events: {EMPTY}, or remove the key"),
    (9, "lines", '["123"]', 'lines[0]: "123" is not a phone number in E.164, such as "+16465550123"'),
    (9, "freshness", '"new"', 'freshness: it must be "live" or "history"'),
]


@pytest.mark.parametrize(("place", "key", "value", "problem"), MISTAKES_OF_SUBSCRIPTIONS)
def test_mistake_in_subscription_is_reported_with_its_line(place: int, key: str, value: str, problem: str) -> None:
    assert problems_of(subscription_with(**{key: value})) == [f"{place} subscriptions[0].{problem}"]


def test_missing_key_is_reported_with_the_line_of_its_table() -> None:
    assert problems_of("[[topics]]\n\n[[subscriptions]]\n") == [
        '1 topics[0].events: "events" is missing',
        '1 topics[0].name: "name" is missing',
        *(f'3 subscriptions[0].{key}: "{key}" is missing' for key in ("name", "secret", "topic", "url")),
    ]


def test_duplicate_name_is_reported_at_its_second_use() -> None:
    text = topic_with('events = ["*"]') + "\n" + topic_with('events = ["call.*"]')
    assert problems_of(text) == ['5 topics[1].name: the name "t" is used more than once']


def test_duplicate_name_is_reported_with_other_mistakes() -> None:
    again = subscription_with().partition("[[subscriptions]]")[2]
    text = f"{subscription_with()}\n[[subscriptions]]{again}\n[[subscriptions]]{again}"
    assert problems_of(text) == [
        '10 subscriptions[1].name: the name "s" is used more than once',
        '15 subscriptions[2].name: the name "s" is used more than once',
    ]


def test_undefined_topic_is_reported_with_the_defined_ones() -> None:
    assert problems_of('[[subscriptions]]\nname = "s"\ntopic = "t"\nurl = "http://a"\nsecret = "env:S"') == [
        '3 subscriptions[0].topic: there is no topic "t" (topics: none is defined)'
    ]


def test_unknown_table_is_reported() -> None:
    assert problems_of("\n[limits]\nrate = 5") == ['2 limits: unknown key "limits"']


def test_unknown_list_of_tables_is_reported_with_its_line() -> None:
    assert problems_of("\n[[topic]]\nname = 'x'") == ['2 topic: unknown key "topic"']


@pytest.mark.parametrize(
    "text", ["topics", "topics = ", "[[topics]", 'name = "x', "a = 1\na = 2", "\x00", "x = 2026-13-01"]
)
def test_toml_syntax_error_is_reported_with_its_position(text: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(" not TOML: ")
    assert "(at " in problem


@pytest.mark.parametrize("table", ["topics = 5", "topics = {}", 'topics = "x"', "[topics]", "topics = [5]"])
def test_topics_that_are_not_tables_are_reported(table: str) -> None:
    (problem,) = problems_of(table)
    assert problem.startswith("1 topics")


NO_LISTS = {
    '[topics]\nname = "t"\nevents = ["*"]': "1 topics",
    topic_with('events = "*"'): "3 topics[0].events",
    subscription_with(retry='"5s"'): "9 subscriptions[0].retry",
}


@pytest.mark.parametrize(("text", "place"), NO_LISTS.items())
def test_value_in_place_of_a_list_is_reported_with_its_line(text: str, place: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(f"{place}: ")


@pytest.mark.parametrize("text", NO_LISTS)
def test_messages_use_toml_terms(text: str) -> None:
    assert not any("tuple" in problem for problem in problems_of(text))


def test_all_mistakes_are_reported_in_file_order() -> None:
    text = """\
        colour = "green"

        [[topics]]
        name = "support team"
        events = ["message.*", "**"]
        lines = [
          "+16465550123",
          "646 555 0123",
        ]
        direction = "both"

        [[topics]]
        name = "calls"
        events = ["call.*"]
        is_group = "no"

        [[topics]]
        name = "calls"

        [[subscriptions]]
        name = "bot"
        topic = "suport"
        url = "bot.internal"
        secret = "hunter2"
        retry = ["5s", "soon", 7]
        deadline = "5s"

        [[subscriptions]]
        name = "bot"
        topic = "calls"
        url = "https://bot.internal"
    """
    assert problems_of(text) == [
        '1 colour: unknown key "colour"',
        f'4 topics[0].name: "support team" {NOT_A_NAME}',
        f'5 topics[0].events[1]: "**" {NOT_A_PATTERN}',
        '6 topics[0].lines[1]: "646 555 0123" is not a phone number in E.164, such as "+16465550123"',
        '10 topics[0].direction: it must be "inbound" or "outbound"',
        "15 topics[1].is_group: it must be true or false",
        '17 topics[2].events: "events" is missing',
        '18 topics[2].name: the name "calls" is used more than once',
        '22 subscriptions[0].topic: there is no topic "suport" (topics: support team, calls)',
        '23 subscriptions[0].url: "bot.internal" is not an http or https URL',
        f"24 subscriptions[0].secret: {NOT_A_SECRET}",
        f'25 subscriptions[0].retry[1]: "soon" {NOT_A_DURATION}',
        "25 subscriptions[0].retry[2]: write it as a string, not as 7",
        '26 subscriptions[0].deadline: unknown key "deadline"',
        '28 subscriptions[1].secret: "secret" is missing',
        '29 subscriptions[1].name: the name "bot" is used more than once',
    ]


def test_messages_use_the_given_file_name() -> None:
    with pytest.raises(ConfigError, match=r"/etc/relay/rules\.toml:1 x: unknown key"):
        parse_config("x = 1", "/etc/relay/rules.toml")


@pytest.mark.parametrize("secret", ["hunter2", "whsec", "vault:hunter2"])
def test_invalid_secret_is_not_repeated(secret: str) -> None:
    (problem,) = problems_of(subscription_with(secret=f'"{secret}"'))
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 5000 + "]" * 5000, "x = " + "{a = " * 5000 + "1" + "}" * 5000, "x = " + "1" * 5000],
    ids=["deep lists", "deep tables", "a number of 5000 digits"],
)
def test_excessive_nesting_and_numbers_are_config_errors(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text)
