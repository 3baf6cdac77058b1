from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.config.relay_toml import DEFAULT_RETRY, AttemptBounds, RelayConfig, Subscription, parse_config
from relay.core.config.topics import Topic
from relay.core.durations import parse_duration
from relay.core.errors import ConfigError
from relay.core.event import Freshness
from relay.core.secret import SecretReference
from tests.building import LINE, OTHER_LINE
from tests.core.writing import subscription_with, topic_with
from tests.properties import any_text, lines, quick

GOOD = """
[[topics]]
name = "support"
events = ["message.received", "message.failed", "reaction.*"]
lines = ["+16465550123"]            # absent = every line

[[topics]]
name = "everything"
events = ["*"]

[[topics]]
name = "late.sms_2-groups"
events = ["message.*"]
lines = ["+16465550123", "+16465550124"]
direction = "inbound"
service = ["SMS", "RCS"]
is_group = true
freshness = "history"

[[subscriptions]]                   # push; pull needs no entry
name = "support-bot"
topic = "support"
url = "http://support-bot.internal:8080/linq"
secret = "env:SUPPORT_BOT_SECRET"
retry = ["5s", "30s", "2m", "10m"]

[[subscriptions]]
name = "crm"
topic = "support"
url = "https://crm.example.com/hooks?team=a%20b"
secret = "file:crm.key"
"""


def subscription(**fields: Any) -> Subscription:
    """Return a subscription as TOML."""
    return Subscription.model_validate(fields)


# --- valid files ----------------------------------------------------------------------------------


def test_valid_file_is_parsed_whole() -> None:
    assert parse_config(GOOD) == RelayConfig(
        topics=(
            Topic(name="support", events=("message.received", "message.failed", "reaction.*"), lines=(LINE,)),
            Topic(name="everything", events=("*",)),
            Topic(
                name="late.sms_2-groups",
                events=("message.*",),
                lines=(LINE, OTHER_LINE),
                direction="inbound",
                service=("SMS", "RCS"),
                is_group=True,
                freshness=Freshness.HISTORY,
            ),
        ),
        subscriptions=(
            subscription(
                name="support-bot",
                topic="support",
                url="http://support-bot.internal:8080/linq",
                secret="env:SUPPORT_BOT_SECRET",
                retry=["5s", "30s", "2m", "10m"],
            ),
            subscription(
                name="crm", topic="support", url="https://crm.example.com/hooks?team=a%20b", secret="file:crm.key"
            ),
        ),
    )


def test_subscription_has_secret_reference_and_waits() -> None:
    bot, crm = parse_config(GOOD).subscriptions
    assert (bot.secret, bot.retry) == ((SecretReference("env", "SUPPORT_BOT_SECRET"),), (5.0, 30.0, 120.0, 600.0))
    assert crm.secret == (SecretReference("file", "crm.key"),)


def test_absent_keys_have_defaults() -> None:
    config = parse_config(subscription_with())
    (topic,), (bot,) = config.topics, config.subscriptions
    assert (topic.lines, topic.direction, topic.service, topic.is_group, topic.freshness) == (None,) * 5
    assert bot.retry == tuple(map(parse_duration, DEFAULT_RETRY))


def test_default_retry_is_ten_attempts_in_25_minutes() -> None:
    assert len(DEFAULT_RETRY) + 1 == 10
    assert sum(map(parse_duration, DEFAULT_RETRY)) == pytest.approx(25 * 60, rel=0.05)
    assert list(map(parse_duration, DEFAULT_RETRY)) == sorted(map(parse_duration, DEFAULT_RETRY))


@pytest.mark.parametrize("text", ["", "\n# nothing yet\n", "topics = []", "topics = []\nsubscriptions = []"])
def test_file_without_rules_is_valid(text: str) -> None:
    assert parse_config(text) == RelayConfig()


@pytest.mark.parametrize(
    ("retry", "seconds"),
    [
        ('["250ms", "5s", "2m", "1h", "1.5h"]', (0.25, 5.0, 120.0, 3600.0, 5400.0)),
        ('["0s"]', (0.0,)),
        ("[]", ()),
    ],
)
def test_retries_have_units_and_may_be_empty(retry: str, seconds: tuple[float, ...]) -> None:
    assert parse_config(subscription_with(retry=retry)).subscriptions[0].retry == seconds


def test_sizes_have_units() -> None:
    [topic] = parse_config(topic_with('keep = "24h"\nsize = "500MB"\nhard_size = "1GiB"')).topics
    assert (topic.keep, topic.size, topic.hard_size) == (86_400.0, 500_000_000, 2**30)


def test_attempt_log_has_age_and_size_limits() -> None:
    [bot] = parse_config(subscription_with(attempts='{ keep = "24h" }')).subscriptions
    assert bot.attempts == AttemptBounds(keep="24h", size="8MiB")  # type: ignore[arg-type]


@pytest.mark.parametrize(("service", "means"), [('"SMS"', ("SMS",)), ('["SMS", "iMessage"]', ("SMS", "iMessage"))])
def test_service_is_a_name_or_a_list(service: str, means: tuple[str, ...]) -> None:
    assert parse_config(topic_with(f"service = {service}")).topics[0].service == means


@pytest.mark.parametrize("name", ["a", "A1", "0", "support.eu-west_1", "x" * 64])
def test_name_is_letters_digits_dots_and_dashes(name: str) -> None:
    assert parse_config(f'[[topics]]\nname = "{name}"\nevents = ["*"]').topics[0].name == name


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080", "https://a.b/c?d=e#f", "http://[::1]:8080/x", "HTTPS://A.B", "http://user:pw@host/x"],
)
def test_subscription_url_is_http_or_https(url: str) -> None:
    assert parse_config(subscription_with(url=f'"{url}"')).subscriptions[0].url == url


def test_unknown_event_types_are_patterns() -> None:
    assert parse_config(topic_with('events = ["hologram.projected", "hologram.*"]')).topics


def test_topic_and_subscription_may_share_a_name() -> None:
    assert parse_config(subscription_with(name='"t"')).subscriptions[0].name == "t"


def test_subscriptions_are_indexed_by_topic() -> None:
    config = parse_config(GOOD)
    names = {
        topic: [subscription.name for subscription in found] for topic, found in config.subscriptions_by_topic.items()
    }
    assert names == {"support": ["support-bot", "crm"]}


def test_config_repr_has_no_secret() -> None:
    config = parse_config(subscription_with(secret='"whsec_AAECAwQFBgc="'))
    assert "AAECAw" not in repr(config)


# --- properties -----------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
patterns = st.sampled_from(["*", "message.*", "message.received", "chat.typing_indicator.*", "hologram.x-y_z"])


@quick
@given(
    st.dictionaries(
        names, st.tuples(st.lists(patterns, min_size=1, max_size=3), st.lists(lines, max_size=3)), max_size=4
    )
)
def test_valid_file_is_parsed_as_intended(topics: dict[str, tuple[list[str], list[str]]]) -> None:
    text = ""
    for name, (events, of_lines) in topics.items():
        text += f'[[topics]]\nname = "{name}"\nevents = {events}\n'
        if of_lines:
            text += f"lines = {of_lines}\n"
    assert parse_config(text).topics == tuple(
        Topic(name=name, events=tuple(events), lines=tuple(of_lines) or None)
        for name, (events, of_lines) in topics.items()
    )


scalars = st.one_of(
    any_text.map(repr),
    st.sampled_from(
        ['"t"', '"*"', '"5s"', '"+16465550123"', '"env:S"', '"http://a"', "true", "nan", "inf", "1979-05-27"]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.text(max_size=10),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"k{n} = {item}" for n, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=5,
)
keys = st.sampled_from(
    [
        *Topic.model_fields,
        *Subscription.model_fields,
        "topics",
        "subscriptions",
        "egress",
        "allow",
        "a.b",
        '"quoted key"',
        "colour",
    ]
)
toml_lines = st.one_of(
    st.sampled_from(
        ["[[topics]]", "[[subscriptions]]", "[topics]", "[egress]", "[[topics.x]]", "[topics.0]", "", "# note", '"""']
    ),
    st.builds("{} = {}".format, keys, values),
    st.text(max_size=12),
)


@quick
@given(st.lists(toml_lines, max_size=12).map("\n".join) | st.text())
def test_any_text_parses_or_raises_config_error(text: str) -> None:
    try:
        config = parse_config(text)
    except ConfigError as error:
        assert error.problems  # noqa: PT017  either is fine
    else:
        assert isinstance(config, RelayConfig)
