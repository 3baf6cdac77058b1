"""SVG of a part: a group of bars for each row, of the relay, the floor and the DIY service, with their values."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tests.bench.sheet import DIY, FLOOR, RELAY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.sheet import Row, Sheet

_COLOURS = {RELAY: "#2563eb", FLOOR: "#9ca3af", DIY: "#f59e0b"}
_NAMES = {RELAY: "relay", FLOOR: "floor", DIY: "DIY"}
_WIDTH, _LEFT, _RIGHT = 860, 330, 90
_BAR, _GAP, _TOP = 16, 14, 48


def draw(sheet: Sheet, directory: Path) -> None:
    """Write a file for each part that has a row with something to compare."""
    directory.mkdir(parents=True, exist_ok=True)
    for part in dict.fromkeys(row.part for row in sheet.rows):
        rows = [row for row in sheet.rows if row.part == part and len(row.samples) > 1]
        if rows:
            (directory / f"{part}.svg").write_text(chart(part, rows), encoding="utf-8")


def chart(title: str, rows: list[Row]) -> str:
    """Return the SVG; every group has its own scale, since units differ."""
    shown = [system for system in _COLOURS if any(system in row.samples for row in rows)]
    shapes, y = [_text(12, 24, title, "bold"), *_legend(shown)], _TOP
    for row in rows:
        shapes.append(_text(12, y + 12, f"{row.what} ({row.unit})"))
        medians = {system: value for system in _COLOURS if (value := row.median(system)) is not None}
        largest = max(medians.values()) or 1.0
        for system, value in medians.items():
            width = (_WIDTH - _LEFT - _RIGHT) * value / largest
            shapes += [
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" rx="2" fill="{_COLOURS[system]}"/>',
                _text(_LEFT + width + 6, y + 12, f"{value:,.0f}" if value >= 100 else f"{value:.2f}"),
            ]
            y += _BAR
        y += _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="12">'
    )
    return "\n".join((head, f'<rect width="{_WIDTH}" height="{y}" fill="white"/>', *shapes, "</svg>\n"))


def _legend(shown: Sequence[str]) -> list[str]:
    shapes = []
    for position, system in enumerate(shown):
        x = _LEFT + position * 80
        shapes += [
            f'<rect x="{x}" y="14" width="12" height="12" fill="{_COLOURS[system]}"/>',
            _text(x + 18, 24, _NAMES[system]),
        ]
    return shapes


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(text)}</text>'
