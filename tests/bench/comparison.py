"""Comparison of two measurements of the relay: each row beside its former value, and whether it became worse.

A ratio above 1 is better, whichever way the unit counts: rates up, everything else (time, CPU, memory, work) down. It
is the median of the rounds' ratios where both sides were measured in turns, otherwise the ratio of the medians. Its
noise is three standard errors, from the spread of the rounds; a row that was measured once counts as noisy by
`NOISE_OF_ONE`. A row is worse if its ratio is below `LIMIT` and further from 1 than its noise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from math import hypot, sqrt
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from tests.bench.sheet import RELAY, Row, Sheet, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMIT = 0.98
NOISE_OF_ONE = 0.1
_ERRORS = 3  # standard errors
_HIGHEST = 100.0  # ratio, where a value is 0
WIDTH = 80


class Verdict(StrEnum):
    """The judgement of a row."""

    BETTER = "better"
    SAME = ""
    UNSURE = "?"
    """Below the limit, but within its noise: more rounds would tell."""
    WORSE = "WORSE"


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was measured on both sides."""

    row: Row
    former: float
    latter: float
    ratio: float
    """Above 1 is better."""
    noise: float
    """The part of the ratio that the rounds do not agree on."""

    @property
    def verdict(self) -> Verdict:
        """The judgement."""
        is_beyond_noise = abs(self.ratio - 1) > self.noise
        if self.ratio < LIMIT:
            return Verdict.WORSE if is_beyond_noise else Verdict.UNSURE
        return Verdict.BETTER if self.ratio > 1 / LIMIT and is_beyond_noise else Verdict.SAME

    def shown(self) -> dict[str, Any]:
        """Return the row for JSON, which can be compared with again."""
        verdict = self.verdict.name.lower()
        numbers = {"former": self.former, "ratio": self.ratio, "noise": self.noise, "verdict": verdict}
        return self.row.shown() | numbers


@dataclass(slots=True)
class Comparison:
    """The rows of two measurements."""

    changes: list[Change] = field(default_factory=list)
    missing: list[Row] = field(default_factory=list)
    """Rows that only the former measurement has."""
    new: list[Row] = field(default_factory=list)
    """Rows that only the latter measurement has."""
    failures: list[str] = field(default_factory=list)
    """The reasons why parts could not be measured, or not as often as they should."""

    @property
    def is_worse(self) -> bool:
        """True if a row is worse or missing, or a part could not be measured."""
        return bool(self.missing or self.failures) or any(change.verdict is Verdict.WORSE for change in self.changes)

    def table(self) -> Table:
        """Return a table for a terminal of `WIDTH` columns."""
        table = Table(box=None, width=WIDTH, padding=(0, 2, 0, 0), header_style="")
        table.add_column("", ratio=1)
        for heading in ("former", "latter", "ratio", "noise", ""):
            table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
        part = ""
        for change in self.changes:
            row = change.row
            if row.part != part:
                table.add_row(part := row.part)
            table.add_row(
                f"  {escape(row.what)}, {row.unit}",
                *(number(change.former), number(change.latter), f"{change.ratio:.2f}", f"{change.noise:.2f}"),
                change.verdict,
            )
        return table

    def remarks(self) -> list[str]:
        """Return what a table cannot tell, a line each."""
        counts = [sum(change.verdict is verdict for change in self.changes) for verdict in Verdict]
        better, same, unsure, worse = counts
        unsure_too = f", {unsure} below {LIMIT} but within noise (?)" if unsure else ""
        lines = [f"{worse} worse{unsure_too}, {same} about the same, {better} better. Ratio: above 1 is better."]
        lines += [f"only in the former measurement: {row.part}: {row.what}" for row in self.missing]
        lines += [f"only in the latter measurement: {row.part}: {row.what}" for row in self.new]
        return lines + self.failures


def compare(former: Sheet, latter: Sheet, *, in_turns: bool = False, failures: Sequence[str] = ()) -> Comparison:
    """Compare the relay's values of two measurements; `in_turns` means that round N of both ran side by side."""
    comparison = Comparison(failures=list(failures))
    before = {(row.part, row.what): row for row in former.rows if RELAY in row.samples}
    for row in latter.rows:
        if RELAY not in row.samples:
            continue
        other = before.pop((row.part, row.what), None)
        if other is None:
            comparison.new.append(row)
        else:
            comparison.changes.append(_change(row, other.samples[RELAY], row.samples[RELAY], in_turns=in_turns))
    comparison.missing = list(before.values())
    return comparison


def _change(row: Row, former: Sequence[float], latter: Sequence[float], *, in_turns: bool) -> Change:
    medians = median(former), median(latter)
    if in_turns:
        pairs = zip(former, latter, strict=False)
        ratios = [_ratio(before, after, row.unit) for before, after in pairs]
        ratio, noise = median(ratios), _error(ratios)
    else:
        ratio, noise = _ratio(*medians, row.unit), hypot(_error(former), _error(latter))
    if min(len(former), len(latter)) < 2:
        noise = max(noise, NOISE_OF_ONE)
    return Change(row, *medians, ratio, noise)


def _ratio(former: float, latter: float, unit: str) -> float:
    """Return the ratio of two values, above 1 if the latter is better."""
    better, worse = (latter, former) if unit.endswith("/s") else (former, latter)
    if better == worse:  # also zeros, such as the CPU ticks of an idle process
        return 1.0
    return min(max(better / worse, 1 / _HIGHEST), _HIGHEST) if worse else _HIGHEST


def _error(values: Sequence[float]) -> float:
    """Return some standard errors of the mean, as a share of it."""
    mean = fmean(values)
    return _ERRORS * stdev(values) / sqrt(len(values)) / mean if len(values) > 1 and mean else 0.0


def read_results(path: Path) -> Sheet:
    """Read the output of `--json`; raises ValueError for another file."""
    problem = f"{path} is not a result of this bench (`python -m tests.bench --json > FILE`)"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [Row(row["part"], row["what"], row["unit"], row["samples"]) for row in rows]
        values = [value for row in found for samples in row.samples.values() for value in samples]
        is_empty = any(not samples for row in found for samples in row.samples.values())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(problem) from error
    if not found or is_empty or not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{problem}: it has no rows" if not found else problem)
    return Sheet(found)
