"""`[[teams]]` of relay.toml: grants, owners of subscriptions, and destinations that only narrow `[egress]`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from relay.config.file import load_config
from relay.core.config.egress import Egress
from relay.core.config.relay_toml import RelayConfig, parse_config
from tests.core.config.checks.test_mistakes import EMPTY, problems_of
from tests.core.writing import subscription_with, topic_with

if TYPE_CHECKING:
    from pathlib import Path

CRM = '\n[[teams]]\nname = "crm"\ntopics = ["t"]\n'


def config_with(more: str, **subscription: str) -> RelayConfig:
    """Return a file with the team `crm` and a subscription."""
    return parse_config(subscription_with(**subscription) + CRM + more)


def test_team_is_granted_its_topics_and_owns_its_subscriptions() -> None:
    config = config_with('contact = "#crm"\n[[teams]]\nname = "all"\ntopics = ["*"]', team='"crm"')
    crm, everything = config.teams
    assert (crm.grants("t"), crm.grants("other"), crm.contact) == (True, False, "#crm")
    assert everything.grants("t")
    assert config.subscriptions[0].team == "crm"
    assert config.teams_by_name["crm"] is crm


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            'name = "c.rm"\ntopics = ["*"]',
            '5 teams[0].name: "c.rm" is not the name of a team; use letters, digits, "_" and "-", at most 64',
        ),
        ('name = "c"', '4 teams[0].topics: "topics" is missing'),
        ('name = "c"\ntopics = []', f"6 teams[0].topics: {EMPTY}"),
        ('name = "c"\ntopics = ["*", "u"]', '6 teams[0].topics[1]: there is no topic "u" (topics: t)'),
        ('name = "c"\ntopics = ["*"]\nemail = "a@b"', '7 teams[0].email: unknown key "email"'),
        ('name = "c"\ntopics = ["*"]\negress = ["http://a"]', "7 teams[0].egress[0]: "),
    ],
)
def test_mistakes_of_teams_are_reported(line: str, problem: str) -> None:
    [found] = problems_of(topic_with('events = ["*"]') + f"\n[[teams]]\n{line}")
    assert found.startswith(problem)


def test_team_of_a_subscription_must_exist_and_be_granted_the_topic() -> None:
    [unknown] = problems_of(subscription_with(team='"cmr"') + CRM)
    assert unknown == '9 subscriptions[0].team: there is no team "cmr" (teams: crm)'
    text = subscription_with(team='"crm"') + CRM.replace('["t"]', '["u"]') + '\n[[topics]]\nname = "u"\nevents = ["*"]'
    [not_granted] = problems_of(text)
    assert not_granted == (
        '9 subscriptions[0].team: the team "crm" is not granted the topic "t"; add it to the team\'s topics'
    )
    [twice] = problems_of(subscription_with() + CRM + CRM)
    assert twice.endswith('teams[1].name: the name "crm" is used more than once')


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://crm.internal/", None),
        ("http://erp.internal/", 'erp.internal is not in egress of the team "crm"'),
        ("http://crm.example.com/", "crm.example.com is not in allow of [egress]"),
        ("http://169.254.169.254/", "169.254.169.254 is a cloud metadata service"),
    ],
)
def test_url_must_be_in_both_lists(url: str, why: str | None) -> None:
    egress = 'egress = ["crm.internal", "crm.example.com"]\n[egress]\nallow = ["*.internal"]'
    text = subscription_with(url=f'"{url}"', team='"crm"') + CRM + egress
    if why is None:
        assert parse_config(text).subscriptions[0].url == url
    else:
        [problem] = problems_of(text)
        assert problem.startswith("7 subscriptions[0].url: ")
        assert why in problem


def test_connections_of_a_team_are_held_to_both_lists(tmp_path: Path) -> None:
    text = subscription_with(
        url='"http://crm.internal/"', team='"crm"', secret='"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"'
    )
    rules = tmp_path / "relay.toml"
    other = subscription_with(name='"erp"', secret='"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"').split(
        "[[subscriptions]]"
    )[1]
    rules.write_text(
        f'{text}\n[[subscriptions]]{other}\n{CRM}egress = ["10.1.0.0/16"]\n[egress]\nallow = ["10.0.0.0/8", "a.b"]\n'
    )
    endpoints = load_config(rules).endpoints
    crm, erp = endpoints["s"].egress, endpoints["erp"].egress
    assert crm.refusal("crm.internal", ip_address("10.1.2.3")) is None
    assert crm.refusal("crm.internal", ip_address("10.2.0.1")) == (
        'crm.internal at 10.2.0.1 is not in egress of the team "crm"'
    )
    assert crm.refusal("crm.internal", ip_address("11.0.0.1")) == (
        "crm.internal at 11.0.0.1 is not in allow of [egress]"
    )
    assert erp == Egress(allow=("10.0.0.0/8", "a.b"))
    assert crm != erp
    assert hash(crm) != hash(erp)
