"""Subscriptions that both reply: those whose conditions let one message reach both, and no others."""

from __future__ import annotations

import pytest

from relay.core.config.pairs.replies import double_replies
from relay.core.config.relay_toml import parse_config


def pairs(topics: tuple[str, str], subscriptions: tuple[str, str] = ("", "")) -> list[tuple[str, str, str]]:
    """Return the pairs that are found of two topics and their subscriptions with these keys."""
    text = ""
    for name, topic, subscription in zip(("a", "b"), topics, subscriptions, strict=True):
        text += f'[[topics]]\nname = "{name}"\nevents = ["message.*"]\n{topic}\n'
        text += f'[[subscriptions]]\nname = "{name}-bot"\ntopic = "{name}"\nurl = "https://a.b"\nsecret = "env:S"\n'
        text += f"replies = true\n{subscription}\n"
    return list(double_replies(parse_config(text)))


MEET = [("a-bot", "b-bot", "every line")]


@pytest.mark.parametrize(
    ("topics", "subscriptions"),
    [
        (('freshness = "live"', 'freshness = "history"'), ("", "")),
        (("", 'freshness = "history"'), ('freshness = "live"', "")),
        (("", ""), ('freshness = "live"', 'freshness = "history"')),
        (('opt_out = "stop"', 'opt_out = "start"'), ("", "")),
        (('api = "v3"', ""), ('api = "v2"', "")),
        (('sender = ["+13035550101"]', 'not_sender = "+13035550101"'), ("", "")),
        (("has_media = true", "has_media = false"), ("", "")),
    ],
)
def test_conditions_that_exclude_each_other(topics: tuple[str, str], subscriptions: tuple[str, str]) -> None:
    assert pairs(topics, subscriptions) == []


@pytest.mark.parametrize(
    ("topics", "subscriptions"),
    [
        (('opt_out = "stop"', "opt_out = true"), ("", "")),
        (('freshness = "live"', ""), ("", 'freshness = "live"')),
        (('api = "v3"', 'api = "v2"'), ("", "")),  # Linq sends a message through both
        (("", 'sender = "+13035550101"'), ('api = "v3"', "")),
    ],
)
def test_conditions_under_which_both_reply(topics: tuple[str, str], subscriptions: tuple[str, str]) -> None:
    assert pairs(topics, subscriptions) == MEET
