"""`[alerts]` in relay.toml: its conditions, their defaults, and its mistakes."""

from __future__ import annotations

import pytest

from relay.core.config.alerts import AboveAge, Alerts
from relay.core.config.relay_toml import parse_config
from relay.core.errors import ConfigError

URL = 'url = "https://hooks.example.com/x"'


def alerts_with(*lines: str) -> Alerts:
    alerts = parse_config("\n".join(("[alerts]", *lines))).alerts
    assert alerts is not None
    return alerts


def test_condition_keeps_the_defaults_of_what_it_leaves_out() -> None:
    alerts = alerts_with(URL, 'routing_lag = { above = "5m" }', 'line_silent = { for = "1h" }')
    assert alerts.routing_lag == AboveAge.model_validate({"above": "5m", "for": "2m"})
    assert (alerts.line_silent.for_, alerts.subscription_late.above) == (3600.0, 900.0)
    assert alerts.secret == ()


def test_url_may_be_a_reference_whatever_egress_allows() -> None:
    text = '[egress]\nallow = ["hooks.example.com"]\n[alerts]\nurl = "env:SLACK_URL"\nca_file = "ca.pem"\n'
    config = parse_config(text)
    assert config.alerts is not None
    assert config.alerts.url == "env:SLACK_URL"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("routing_lag = { over = 1 }", 'routing_lag.over: unknown key "over"'),
        ("routing_lag = { above = 60 }", "routing_lag.above: write it as a string, not as 60"),
        ("topic_near_cap = { above = 80 }", "topic_near_cap.above: it must be less than 1"),
        ('off = ["all"]', 'off[0]: it must be "nothing_accepted"'),
        ('url = "env:"', 'url: "env:" is incomplete'),
        ('url = "https://169.254.169.254/"', "url: 169.254.169.254 is a cloud metadata service"),
    ],
)
def test_mistake_is_told_with_its_place(line: str, problem: str) -> None:
    lines = [line] if line.startswith("url") else [URL, line]
    with pytest.raises(ConfigError) as caught:
        alerts_with(*lines)
    assert f"alerts.{problem}" in str(caught.value)
