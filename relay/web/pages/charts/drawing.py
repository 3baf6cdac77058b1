"""The drawings: lines over time, and bars of parts over time.

A drawing is an SVG that is stretched to the width of its place, with labels of HTML beside it, which are not. It has a
description, so that it can be read without being seen. Colours come from the style sheet, by class.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH, _HEIGHT = 600, 100
_GAP = 1.5
_HOURS, _DAYS = 180, 3 * 24 * 60  # minutes from which on the scale has another unit

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
        return (at - self.start) / max(self.end - self.start, 1) * _WIDTH

    def y(self, value: float) -> float:
        return (1 - value / self.top) * _HEIGHT


def lines(title: str, series: Sequence[Series], start: float, end: float) -> Markup:
    """Return a drawing of lines from `start` to `end` (ms)."""
    values = [value for each in series for _, value in each.points if value is not None]
    scale = _Scale(start, end, nice(max(values, default=0)))
    drawn = Markup().join(_line(each, scale, has_area=not index) for index, each in enumerate(series))
    last = "; ".join(f"{each.label} now {_short(value)}" for each in series if (value := _last(each)) is not None)
    return _figure(f"{title}: {last or 'no values yet'}", scale, drawn)


def bars(title: str, series: Sequence[Series], start: float, end: float, step: float) -> Markup:
    """Return a drawing of stacked bars, one for each `step` (ms) from `start` to `end`."""
    totals: dict[float, float] = {}
    for each in series:
        for at, value in each.points:
            totals[at] = totals.get(at, 0) + (value or 0)
    scale = _Scale(start, end, nice(max(totals.values(), default=0)))
    width = max(scale.x(start + step) - _GAP, 1)
    below: dict[float, float] = {}
    drawn = Markup()
    for each in series:
        for at, value in each.points:
            if value:
                foot = below.get(at, 0)
                below[at] = foot + value
                drawn += Markup('<rect class="fill {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                    each.kind, scale.x(at), scale.y(foot + value), width, scale.y(foot) - scale.y(foot + value)
                )
    sums = "; ".join(f"{each.label} {_short(sum(value or 0 for _, value in each.points))}" for each in series)
    return _figure(f"{title}: {sums}", scale, drawn)


def nice(value: float) -> float:
    """Return the round number above a value, as the top of a scale."""
    if value <= 0:
        return 1
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * 1.0000001)


def _line(series: Series, scale: _Scale, *, has_area: bool) -> Markup:
    drawn = Markup()
    for run in _runs(series.points):
        path = " L".join(f"{scale.x(at):.1f},{scale.y(value):.1f}" for at, value in run)
        if has_area and len(run) > 1:
            area = f"M{scale.x(run[0][0]):.1f},{_HEIGHT} L{path} L{scale.x(run[-1][0]):.1f},{_HEIGHT} Z"
            drawn += Markup('<path class="area {}" d="{}"/>').format(series.kind, area)
        drawn += Markup('<path class="stroke {}" d="M{}{}"/>').format(
            series.kind, path, " h.1" if len(run) == 1 else ""
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


def _figure(text: str, scale: _Scale, drawn: Markup) -> Markup:
    grid = Markup().join(
        Markup('<path class="grid" d="M0,{0:.0f} H{1}"/>').format(share * _HEIGHT, _WIDTH) for share in (0, 0.5, 1)
    )
    values = Markup().join(Markup("<span>{}</span>").format(_short(scale.top * share)) for share in (1, 0.5, 0))
    times = Markup().join(Markup("<span>{}</span>").format(_ago(scale, share)) for share in (0, 0.5, 1))
    return Markup(
        '<figure class="chart" role="img" aria-label="{}"><div class="values" aria-hidden="true">{}</div>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}{}</svg>'
        '<div class="times" aria-hidden="true">{}</div></figure>'
    ).format(text, values, _WIDTH, _HEIGHT, grid, drawn, times)


def _ago(scale: _Scale, share: float) -> str:
    """Return the label of a place on the scale of times."""
    whole = (scale.end - scale.start) / 60_000
    left = whole * (1 - share)
    if not left:
        return "now"
    length, unit = (1, "min") if whole < _HOURS else (60, "h") if whole < _DAYS else (24 * 60, "d")
    return f"\N{MINUS SIGN}{left / length:.3g} {unit}"


def _last(series: Series) -> float | None:
    return next((value for _, value in reversed(series.points) if value is not None), None)


def _short(value: float) -> str:
    """Return a number for a scale."""
    for power, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g}{unit}"
    return f"{value:.3g}"
