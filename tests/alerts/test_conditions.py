"""The conditions of `[alerts]`: they fire, and are quiet, in the same cases as the alerts for Prometheus."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from relay.alerts.conditions import CONDITIONS, problems
from relay.alerts.lifecycle import Alert, advance
from relay.alerts.samples import AGES, Counts, Facts, Sample
from relay.core.config.alerts import Alerts
from relay.core.config.relay_toml import RelayConfig
from tests.conftest import NOW
from tests.deploy.alert_cases import CASES, Case

if TYPE_CHECKING:
    from collections.abc import Mapping

ONLY_PROMETHEUS = {"RelayDown", "RelayRedisDown", "RelayConfigReloadRefused"}
"""Alerts about what a worker with a Redis cannot tell."""
SHARED = [case for case in CASES if case.alert not in ONLY_PROMETHEUS]
SERIES = re.compile(r"(\w+)\{(.*)\}")
VALUES = re.compile(r"(-?[\d.]+)(?:\+(\d+))?(?:x(\d+))?")
ALERTS = Alerts.model_validate({"url": "https://hooks.example.com"})


@cache
def values(text: str) -> list[float]:
    """Return the values of a series in promtool's notation, one for each minute."""
    expanded: list[float] = []
    for first, step, times in VALUES.findall(text):
        expanded += [float(first) + int(step or 0) * number for number in range(int(times or 0) + 1)]
    return expanded


def facts_of(series: Mapping[str, str], minute: int) -> Facts:
    """Return the facts of a case at a minute; its clock begins at `NOW`."""
    samples = []
    for text, notation in series.items():
        metric, labels = SERIES.fullmatch(text).groups()  # type: ignore[union-attr]
        known = {name: value for name, value in re.findall(r'(\w+)="([^"]*)"', labels) if name != "instance"}
        value = values(notation)[minute]
        samples.append(Sample(metric, known, value + NOW if metric.endswith("_timestamp_seconds") else value))
    earlier = {age: counts_of(series, minute - age / 60) for age in AGES if minute >= age / 60}
    return Facts(NOW + minute * 60, RelayConfig(), samples, counts_of(series, minute), earlier, counts_of(series, 0))


def counts_of(series: Mapping[str, str], minute: float) -> Counts:
    def total(metric: str) -> int:
        return sum(round(values(text)[int(minute)]) for name, text in series.items() if name.startswith(metric))

    accepted, unavailable = total("relay_events_accepted_total"), total("relay_requests_refused_total")
    return Counts(accepted, accepted + unavailable, unavailable)


def firing_at_the_end(series: Mapping[str, str], minutes: int) -> list[Alert]:
    """Look at the problems once a minute, and return the alerts that fire at the end."""
    alerts: dict[str, Alert] = {}
    for minute in range(minutes + 1):
        facts = facts_of(series, minute)
        alerts = advance(alerts, problems(facts, ALERTS), round(facts.now * 1000)).alerts
    return [alert for alert in alerts.values() if alert.is_firing]


def test_conditions_and_prometheus_alerts_are_the_same() -> None:
    assert {condition.section for condition in CONDITIONS} | ONLY_PROMETHEUS == {case.alert for case in CASES}


@pytest.mark.parametrize("case", SHARED, ids=lambda case: case.name)
def test_alert_fires_and_is_quiet_when_prometheus_alert_is(case: Case) -> None:
    (alert,) = firing_at_the_end(case.fires, case.minute)
    assert alert.section == case.alert
    assert case.labels.items() <= alert.labels.items()
    assert not firing_at_the_end(case.quiet, case.minute)
