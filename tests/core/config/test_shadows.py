from __future__ import annotations

import pytest

from relay.core.config.relay_toml import parse_config
from relay.core.errors import ConfigError

TOPICS = """
[[topics]]
name = "support"
events = ["message.*"]

[[topics]]
name = "billing"
events = ["message.*"]
"""


def subscription(name: str, keys: str) -> str:
    return f'[[subscriptions]]\nname = "{name}"\nurl = "http://10.0.0.1/{name}"\nsecret = "env:KEY"\n{keys}\n'


BOT = subscription(
    "bot",
    'topic = "support"\nlines = ["+16465550123"]\nevents = ["message.received"]\nordered = "chat"\n'
    'shape = "2025-01-01"',
)


def mistakes(*subscriptions: str, topics: str = TOPICS) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(topics + "".join(subscriptions))
    return [problem.message for problem in caught.value.problems]


def test_a_shadow_takes_topic_and_filters_of_its_original() -> None:
    config = parse_config(TOPICS + subscription("next", 'shadow_of = "bot"\ncompare = "body"') + BOT)
    shadow, bot = config.subscriptions
    assert (shadow.topic, shadow.lines, shadow.events) == ("support", bot.lines, bot.events)
    assert (shadow.ordered, shadow.shape) == ("chat", "2025-01-01")
    assert (shadow.retry, shadow.max_age, shadow.dead.size) == ((5.0, 30.0), 3600.0, 16 * 2**20)
    assert config.shadows == {"next": "bot"}
    assert config.compared == {"next", "bot"}


def test_a_shadow_takes_the_team_of_its_original() -> None:
    team = '[[teams]]\nname = "crm"\ntopics = ["support"]\n'
    text = TOPICS + team + subscription("crm", 'topic = "support"\nteam = "crm"')
    config = parse_config(text + subscription("next", 'shadow_of = "crm"'))
    assert config.subscriptions[1].team == "crm"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('shadow_of = "next"', '"next" cannot shadow itself'),
        ('shadow_of = "nobody"', 'there is no subscription "nobody" to shadow (subscriptions: bot)'),
        ('shadow_of = "bot"\ntopic = "billing"', "a shadow has the topic of its original (\"bot\" has 'support')"),
        ('shadow_of = "bot"\nlines = ["+16465550124"]', "a shadow has the lines of its original"),
        ('shadow_of = "bot"\nfreshness = "live"', 'a shadow has the freshness of its original ("bot" has none)'),
        ('shadow_of = "bot"\nblock_on_dead = true', "a shadow blocks nothing"),
        ('shadow_of = "bot"\nretry = ["1s", "1s", "1s", "1s", "1s", "1s"]', "at most 5 waits"),
        ('shadow_of = "bot"\nmax_age = "72h"', 'at most "24h"'),
        ('topic = "support"\ncompare = "body"', '"compare" needs "shadow_of"'),
    ],
)
def test_a_contradiction_of_a_shadow_is_named(keys: str, said: str) -> None:
    [message] = mistakes(BOT, subscription("next", keys))
    assert said in message


def test_a_shadow_of_a_shadow_names_the_original() -> None:
    [message] = mistakes(BOT, subscription("next", 'shadow_of = "bot"'), subscription("third", 'shadow_of = "next"'))
    assert '"next" is itself a shadow, of "bot"; write shadow_of = "bot"' in message


EXCLUSIVE = TOPICS.replace('events = ["message.*"]', 'events = ["message.*"]\nexclusive = true', 1)


def test_an_exclusive_topic_refuses_a_second_subscription() -> None:
    [message] = mistakes(BOT, subscription("crm", 'topic = "support"'), topics=EXCLUSIVE)
    assert 'the topic "support" is exclusive and delivered to "bot" already, so "crm" cannot have it' in message


def test_shadows_do_not_count_on_an_exclusive_topic() -> None:
    text = EXCLUSIVE + BOT + subscription("next", 'shadow_of = "bot"') + subscription("crm", 'topic = "billing"')
    assert len(parse_config(text).subscriptions) == 3
