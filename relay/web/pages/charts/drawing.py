"""The drawings: lines over time, and bars of parts over time.

A drawing has a title and a description, so that it can be read without being seen; its numbers are in the text of the
page besides.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH, _HEIGHT = 440, 120
_TOP, _BOTTOM, _LEFT = 8, 18, 40
_GAP = 1.5

Point = tuple[float, float | None]
"""A time (ms) and a value; None where it is not known."""


class Series(NamedTuple):
    """Values over time."""

    label: str
    kind: str
    """The class of its colour: `accent`, `second`, `good`, `warn`, `bad` or `idle`."""
    points: Sequence[Point]


class _Scale(NamedTuple):
    start: float
    end: float
    top: float

    def x(self, at: float) -> float:
        return _LEFT + (at - self.start) / max(self.end - self.start, 1) * (_WIDTH - _LEFT - 2)

    def y(self, value: float) -> float:
        return _TOP + (1 - value / self.top) * (_HEIGHT - _TOP - _BOTTOM)


def lines(title: str, series: Sequence[Series], start: float, end: float, unit: str = "") -> Markup:
    """Return a drawing of lines from `start` to `end` (ms)."""
    values = [value for each in series for _, value in each.points if value is not None]
    scale = _Scale(start, end, nice(max(values, default=0)))
    drawn = Markup().join(_line(each, scale, is_first=not index) for index, each in enumerate(series))
    last = "; ".join(f"{each.label} now {_short(value)}{unit}" for each in series if (value := _last(each)) is not None)
    return _svg(title, last or "no values yet", _grid(scale, unit) + drawn)


def bars(title: str, series: Sequence[Series], start: float, end: float, step: float) -> Markup:
    """Return a drawing of stacked bars, one for each `step` (ms) from `start` to `end`."""
    totals: dict[float, float] = {}
    for each in series:
        for at, value in each.points:
            totals[at] = totals.get(at, 0) + (value or 0)
    scale = _Scale(start, end, nice(max(totals.values(), default=0)))
    width = max(scale.x(start + step) - scale.x(start) - _GAP, 1)
    heights: dict[float, float] = {}
    drawn = []
    for each in series:
        for at, value in each.points:
            if value:
                below = heights.get(at, 0)
                heights[at] = below + value
                y, height = scale.y(below + value), scale.y(below) - scale.y(below + value)
                drawn.append(
                    Markup('<rect class="fill {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        each.kind, scale.x(at), y, width, height
                    )
                )
    sums = "; ".join(f"{each.label} {_short(sum(value or 0 for _, value in each.points))}" for each in series)
    return _svg(title, sums, _grid(scale, "") + Markup().join(drawn))


def nice(value: float) -> float:
    """Return the round number above a value, as the top of a scale."""
    if value <= 0:
        return 1
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * 1.0000001)


def _line(series: Series, scale: _Scale, *, is_first: bool) -> Markup:
    drawn = Markup()
    for run in _runs(series.points):
        path = " L".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in run)
        if is_first and len(run) > 1:
            area = f"M{scale.x(run[0][0]):.1f},{scale.y(0):.1f} L{path} L{scale.x(run[-1][0]):.1f},{scale.y(0):.1f} Z"
            drawn += Markup('<path class="area {}" d="{}"/>').format(series.kind, area)
        drawn += Markup('<path class="stroke {}" d="M{}"/>').format(series.kind, path)
        if len(run) == 1:
            drawn += Markup('<circle class="fill {}" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(
                series.kind, scale.x(run[0][0]), scale.y(run[0][1])
            )
    return drawn


def _runs(points: Iterable[Point]) -> list[list[tuple[float, float]]]:
    """Return the points in runs without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _grid(scale: _Scale, unit: str) -> Markup:
    drawn = Markup()
    for value in (0, scale.top / 2, scale.top):
        y = scale.y(value)
        drawn += Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, _WIDTH, y, y)
        drawn += Markup('<text class="axis" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
            _LEFT - 6, y + 4, _short(value) + unit
        )
    minutes = round((scale.end - scale.start) / 60_000)
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        left = round(minutes * (1 - share))
        text = "now" if not left else f"\N{MINUS SIGN}{left} min" if left < 180 else f"\N{MINUS SIGN}{left / 60:.0f} h"
        x = _LEFT + share * (_WIDTH - _LEFT)
        drawn += Markup('<text class="axis" x="{:.0f}" y="{}" text-anchor="{}">{}</text>').format(
            x, _HEIGHT - 4, anchor, text
        )
    return drawn


def _last(series: Series) -> float | None:
    return next((value for _, value in reversed(series.points) if value is not None), None)


def _short(value: float) -> str:
    """Return a number for a scale."""
    for power, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g}{unit}"
    return f"{value:.3g}"


def _svg(title: str, text: str, drawn: Markup) -> Markup:
    label = escape(f"{title}: {text}")
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, label, drawn
    )
