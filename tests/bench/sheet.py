"""Results and their presentation: medians over the rounds, and ratios within each round.

Rounds are interleaved (relay, floor, DIY, relay, ...), so that other load of the machine affects all of them; a ratio
is the median of the rounds' ratios, and the only number that means something on another machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.stage import Speed

RELAY, FLOOR, DIY = "relay", "floor", "diy"


@dataclass(slots=True)
class Row:
    """Measurements of one thing."""

    part: str
    what: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    """Values, one a round, of the relay, the floor and the DIY service."""

    def median(self, system: str) -> float | None:
        """Return the median of `system`; None if it was not measured."""
        return median(self.samples[system]) if system in self.samples else None

    def ratio(self, other: str) -> float | None:
        """Return the ratio of the relay to `other`."""
        rounds = list(zip(self.samples.get(RELAY, ()), self.samples.get(other, ()), strict=False))
        ratios = [mine / theirs for mine, theirs in rounds if theirs]
        return median(ratios) if ratios else None

    def shown(self) -> dict[str, Any]:
        """Return the row for JSON."""
        ratios = {f"vs_{other}": self.ratio(other) for other in (FLOOR, DIY) if self.ratio(other) is not None}
        medians = {system: self.median(system) for system in self.samples}
        return {"part": self.part, "what": self.what, "unit": self.unit, **medians, **ratios, "samples": self.samples}


@dataclass(slots=True)
class Sheet:
    """Rows of a run."""

    rows: list[Row] = field(default_factory=list)

    def add(self, part: str, what: str, system: str, value: float, unit: str = "/s") -> None:
        """Add the value of one round."""
        row = next((row for row in self.rows if (row.part, row.what) == (part, what)), None)
        if row is None:
            self.rows.append(row := Row(part, what, unit))
        row.samples.setdefault(system, []).append(value)

    def merge(self, other: Sheet, *, instead: bool = False) -> None:
        """Add the samples of another sheet, or with `instead` have its rows replace those of the same name."""
        for row in other.rows:
            mine = next((mine for mine in self.rows if (mine.part, mine.what) == (row.part, row.what)), None)
            if mine is None:
                self.rows.append(row)
            elif instead:
                mine.samples = row.samples
            else:
                for system, samples in row.samples.items():
                    mine.samples.setdefault(system, []).extend(samples)

    def table(self) -> Table:
        """Return the table for a terminal."""
        table = Table("part", "what", "unit", box=None)
        for heading in _HEADINGS:
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(row.part, row.what, row.unit, *_numbers(row))
        return table

    def markdown(self) -> str:
        """Return the table in Markdown."""
        head = ["part", "what", "unit", *_HEADINGS]
        lines = [head, ["---"] * 3 + ["---:"] * len(_HEADINGS)]
        lines += [[row.part, row.what, row.unit, *_numbers(row)] for row in self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def add_speed(sheet: Sheet, part: str, what: str, system: str, speed: Speed) -> None:
    """Add the rate of one round and its CPU cost."""
    sheet.add(part, what, system, speed.rate)
    sheet.add(part, f"{what}: CPU per 10,000", system, speed.cpu, "s")


_HEADINGS = ("relay", "floor", "x floor", "DIY", "x DIY")


def _numbers(row: Row) -> Sequence[str]:
    values = row.median(RELAY), row.median(FLOOR), row.ratio(FLOOR), row.median(DIY), row.ratio(DIY)
    return [number(value) for value in values]


def number(value: float | None) -> str:
    """Return a value with three digits, or all before the point."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
