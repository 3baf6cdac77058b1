"""The bench runs, prints its numbers, and its ledgers balance; speed is not checked here.

Only parts that take a few seconds: the others are alike, and `python -m tests.bench --short` runs all.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.bench import processes
from tests.bench.__main__ import show
from tests.bench.charts import draw
from tests.bench.parts import PARTS
from tests.bench.scale import SMOKE
from tests.bench.sheet import DIY, FLOOR, RELAY, Sheet

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine


@pytest.fixture(autouse=True)
def forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes as forks."""
    monkeypatch.setattr(processes, "new_interpreters", False)


@pytest.mark.background
@pytest.mark.parametrize("part", ["accept", "route", "push", "through", "latency", "pull", "lists", "shards"])
async def test_part_measures_and_loses_nothing(part: str) -> None:
    sheet = Sheet()
    await PARTS[part](SMOKE, sheet)
    assert {row.part for row in sheet.rows} == {part}
    assert all(value >= 0 for row in sheet.rows for values in row.samples.values() for value in values)


async def test_floors_and_diy_service_work() -> None:
    sheet = Sheet()
    await PARTS["pull"](replace(SMOKE, compared=(FLOOR,)), sheet)
    await PARTS["latency"](replace(SMOKE, compared=(DIY,)), sheet)
    measured = {(row.part, system) for row in sheet.rows for system in row.samples}
    assert measured == {("pull", FLOOR), ("latency", DIY)}


def test_ratio_is_the_median_of_the_rounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = Sheet()
    for mine, theirs in ((100.0, 10.0), (300.0, 20.0), (80.0, 10.0)):
        sheet.add("accept", "<all>", RELAY, mine)
        sheet.add("accept", "<all>", DIY, theirs)
    (row,) = sheet.rows
    assert (row.median(RELAY), row.ratio(DIY)) == (100.0, 10.0)
    draw(sheet, tmp_path)
    assert "&lt;all&gt; (/s)" in (tmp_path / "accept.svg").read_text()
    show(sheet, as_json=True, as_markdown=False)
    assert json.loads(capsys.readouterr().out)[0]["vs_diy"] == 10.0
    show(sheet, as_json=False, as_markdown=True)
    assert "| accept | <all> | /s | 100 |  |  | 10.0 | 10.0 |" in capsys.readouterr().out
    show(sheet, as_json=False, as_markdown=False)
    assert "x DIY" in capsys.readouterr().out
