"""The board and the metrics of the alerts: what is committed is what its script makes, and every metric exists."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from relay.metrics.declared import METRICS
from tests.deploy import dashboard
from tests.deploy.test_rules import ROOT, RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = re.compile(r"(?<![\w:])(?:\w+:)?relay_\w+(?::\w+)?")
"""A metric, or a recording rule such as `namespace:relay_requests_unavailable:ratio_rate5m`."""
ROWS = ["Overview", "Accepting", "Routing", "Topics", "Push subscriptions", "Pull groups", "Linq lines", "Redis"]


def board() -> dict[str, Any]:
    """Return the committed board."""
    content: dict[str, Any] = json.loads(dashboard.FILE.read_text(encoding="utf-8"))
    return content


def recorded() -> dict[str, str]:
    """Return the expression of each recording rule by its name."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}


def expressions() -> Iterator[str]:
    """Yield every query of the board, of its variables and of the rules."""
    for panel in board()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (variable["query"] for variable in board()["templating"]["list"] if variable["type"] == "query")
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_board_is_what_its_script_makes() -> None:
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), "run: python -m tests.deploy.dashboard"
    panels = board()["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == ROWS
    assert [panel["title"] for panel in panels if panel["gridPos"]["x"] + panel["gridPos"]["w"] > 24] == []


def test_every_query_names_metrics_that_exist() -> None:
    names = {f"{metric.name}_bucket" if metric.buckets else metric.name for metric in METRICS}
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert used - recorded().keys() - names == set()
    assert names - used == set(), "metrics that are neither on the board nor in a rule"


def test_prometheus_scrapes_the_admin_listeners_with_the_rules() -> None:
    config = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text(encoding="utf-8"))
    assert config["rule_files"] == ["rules.yaml"]
    [job] = config["scrape_configs"]
    [targets] = job["dns_sd_configs"]
    assert (targets["names"], targets["port"]) == (["ingress", "worker", "admin"], 8081)
