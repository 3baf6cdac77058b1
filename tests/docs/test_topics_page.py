"""The recipes of topics.md, tried with payloads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.core.conditions import bounded
from relay.core.conditions.where import MAX_LENGTH
from relay.core.config.relay_toml import parse_config
from relay.core.config.topics import Topic
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.metrics.worker_metrics import WorkerMetrics
from tests.cli.test_explain_event import sample
from tests.docs.pages import page
from workers.routing.facts import BodyFacts

RECIPES = page("topics.md").blocks("toml")
TEXT = page("topics.md").text


def text(value: str) -> dict[str, Any]:
    return {"parts": [{"type": "text", "value": value}]}


@pytest.mark.parametrize(
    ("recipe", "name", "data", "topics"),
    [
        (0, "v3-message.received", {}, ["support"]),
        (0, "v3-message.received", {"reconciled_at": "2026-09-14T09:15:02Z"}, []),
        (1, "v3-message.edited", {}, []),
        (1, "v3-message.edited", {"sender_handle": {"handle": "+15035550177"}}, ["support"]),
        (2, "v3-message.received", text("stop "), ["compliance"]),
        (2, "v3-message.received", text("Please stop"), []),
        (3, "v3-message.received", {"parts": [{"type": "media", "url": "x"}]}, ["uploads"]),
        (3, "v3-message.received", {}, []),
        (4, "v2-message.received", {}, ["bot-old"]),
        (4, "v3-message.received", {}, ["bot-new"]),
        (5, "v3-message.received", {"parts": [{"type": "link", "value": "x"}]}, ["links"]),
        (5, "v3-message.received", text("the SPRING offer"), ["campaign"]),
        (5, "v3-message.received-2025-01-01", {}, []),
    ],
)
def test_recipe_does_what_it_says(recipe: int, name: str, data: dict[str, Any], topics: list[str]) -> None:
    envelope = json.loads(sample(name).read_bytes())
    envelope["data"].update(data)
    body = json.dumps(envelope).encode()
    event = decode(Dialect(envelope["api_version"]), body, None).event
    index = parse_config(RECIPES[recipe]).index
    assert list(index.match(event, body, BodyFacts(WorkerMetrics.unscraped()))) == topics


def test_bounds_and_missing_functions_are_those_of_the_code() -> None:
    assert f"at most {MAX_LENGTH:,} characters and {bounded.MAX_DEPTH} levels" in TEXT
    assert f"{bounded.MAX_STEPS:,} steps" in TEXT
    assert ", ".join(f"`{name}`" for name in bounded.LEFT_OUT) in " ".join(TEXT.split())


def test_every_condition_is_in_the_table() -> None:
    [conditions] = [rows for rows in [page("topics.md").rows("Conditions")] if rows]
    listed = {name.strip("` ") for row in conditions for name in row[0].split(",")}
    others = {"name", "events", "lines", "keep", "size", "hard_size", "dead", "exclusive"}
    assert listed == set(Topic.model_fields) - others
