"""The sizing page: its costs are those that the bench measured, and its examples follow from its formula."""

from __future__ import annotations

import re

import pytest

from relay.store.wakeups import PARTITIONS
from tests.bench.capacity import COSTS, MAX_SHARDS, SHARE, table
from tests.docs.pages import ROOT, Page, page

SIZING = page("sizing.md")
MEASURED = Page(ROOT / "tests" / "bench" / "results.md")
EVENT = 2000  # bytes in a topic, with a body of 1.5 kB
ID, ATTEMPT = 170, 240  # bytes
GB, GIB = 1e9, 2**30


def numbers(cells: list[str]) -> list[float]:
    return [float(re.sub(r"[^\d.]", "", cell.split()[0])) for cell in cells]


@pytest.mark.parametrize(
    ("row", "measured"), [("in the inbox", "inbox"), ("in each topic", "topic"), ("a dead letter", "dead letter")]
)
def test_costs_are_those_that_the_bench_measured(row: str, measured: str) -> None:
    [shown] = [cells for cells in SIZING.rows("What an event costs") if cells[0].startswith(row)]
    [found] = [cells for cells in MEASURED.all_rows() if cells[0] == measured]
    assert shown[1:4] == found[1:4]


@pytest.mark.parametrize("cells", SIZING.rows("Worked"), ids=lambda cells: re.sub(r"[^\w]+", "-", cells[0]))
def test_examples_follow_from_the_formula(cells: list[str]) -> None:
    events = numbers(cells)[0]
    days = 0.25 if "6h" in cells[0] else 3.0
    topic = events * days * EVENT
    topics = 2 * (min(topic, GIB) if "default sizes" in cells[0] else topic)
    memory = topics + events * 0.25 * ID + 2 * min(events * 3 * ATTEMPT, 8 * 2**20)
    peak = events / 86_400 * 10
    maximum = memory / 0.7
    expected = [events, peak, memory / GB, maximum / GB, maximum * 1.5 / GB, maximum * 3 / GB]
    expected += [peak * (10 + 20 + 2 * 19) / 1e6, peak * (39 + 18 + 2 * 59) / 1e6]
    assert numbers(cells) == pytest.approx(expected, rel=0.06)


def test_table_of_rates_is_that_of_the_model() -> None:
    assert "\n".join(["", *table(), ""]) in SIZING.text, "python -m tests.bench.capacity prints the table"


def test_model_has_the_costs_of_the_examples() -> None:
    text = " ".join(SIZING.text.split())
    found = re.search(
        r"(\d+) .s of Redis to accept an event, (\d+) to route it into two topics, (\d+) for a push; "
        r"(\d+) .s of an ingress, (\d+) of the router and (\d+) of a worker for a push",
        text,
    )
    assert found is not None
    costs = COSTS.redis_accept, 2 * COSTS.redis_topic, COSTS.redis_push, COSTS.ingress, COSTS.route, COSTS.push
    assert tuple(map(float, found.groups())) == costs
    assert (COSTS.topic, COSTS.id, COSTS.attempt) == (EVENT - 1500, ID, ATTEMPT)


def test_bounds_of_a_subscription_and_a_relay_are_those_of_the_model() -> None:
    text = " ".join(SIZING.text.split())
    alone = SHARE / COSTS.push * 1e6
    sharded = alone / COSTS.sharded
    assert f"half of a core makes {round(alone, -2):,.0f} pushes a second, and {round(sharded, -2):,.0f} with" in text
    assert f"A relay has {PARTITIONS} partitions" in text
    assert f"by half a core each {PARTITIONS * sharded // 1000:.0f},000 pushes a second" in text
    assert f"at most {MAX_SHARDS} shards" in text
