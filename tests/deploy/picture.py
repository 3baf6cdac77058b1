"""A picture of the board: every panel of dashboard.json at its place, drawn as SVG from the answers of a Prometheus."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.durations import format_duration
from tests.deploy.dashboard import FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    Ask = Callable[[str], Awaitable[list[dict[str, Any]]]]
    """Returns the series of an expression over the span of the picture, as `query_range` does."""

COLUMN, UNIT, PAD = 46, 17, 6
COLOURS = ("#2563eb", "#f59e0b", "#16a34a", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#65a30d")
_VARIABLES = {"$namespace": ".*", "$topic": ".*", "$subscription": ".*", "$__rate_interval": "20s"}


class Line(NamedTuple):
    """A series of a panel."""

    name: str
    points: Sequence[tuple[float, float]]
    """Time and value."""


async def draw(ask: Ask, begin: float, end: float) -> str:
    """Return the SVG of the board between two times, Unix seconds."""
    panels: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["panels"]
    shapes: list[str] = []
    for panel in panels:
        lines = [line for target in panel.get("targets", ()) for line in await _lines(ask, target)]
        shapes += _panel(panel, lines, (begin, end))
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * UNIT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN} {height}" font-family="sans-serif">'
    ground = f'<rect width="{24 * COLUMN}" height="{height}" fill="#f4f5f7"/>'
    return "\n".join((head, ground, *shapes, "</svg>\n"))


async def _lines(ask: Ask, target: Mapping[str, Any]) -> list[Line]:
    expression = target["expr"]
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return [
        Line(_legend(target.get("legendFormat", ""), series["metric"]), [(t, float(v)) for t, v in series["values"]])
        for series in await ask(expression)
    ]


def _legend(form: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        form = form.replace(f"{{{{{name}}}}}", value)
    return form


def _panel(panel: Mapping[str, Any], lines: Sequence[Line], span: tuple[float, float]) -> Iterator[str]:
    place = panel["gridPos"]
    x, y, width, height = place["x"] * COLUMN, place["y"] * UNIT, place["w"] * COLUMN, place["h"] * UNIT
    if panel["type"] == "row":
        yield _text(x + PAD, y + 13, panel["title"], 12, "bold")
        return
    size = f'width="{width - 4}" height="{height - 4}"'
    yield f'<rect x="{x + 2}" y="{y + 2}" {size} rx="3" fill="white" stroke="#d9dce1"/>'
    yield _text(x + PAD + 2, y + 15, _short(panel["title"], width), 10, "bold")
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    if panel["type"] == "stat":
        value = lines[0].points[-1][1] if lines else None
        yield _number(x, y, value, unit, panel["fieldConfig"]["defaults"]["thresholds"]["steps"])
    elif lines:
        yield from _chart((x + PAD + 2, y + 32, width - 2 * PAD - 4, height - 56), lines, span, unit)
        yield from _legends(x + PAD + 2, y + height - 10, width, lines)
    else:
        yield _text(x + width / 2 - 20, y + height / 2, "no data", 10, colour="#9ca3af")


def _number(x: float, y: float, value: float | None, unit: str, steps: Sequence[Mapping[str, Any]]) -> str:
    if value is None:
        return _text(x + PAD + 2, y + 44, "no data", 14, colour="#9ca3af")
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    shown = {"green": "#16a34a", "orange": "#ea580c", "red": "#dc2626"}[colour]
    return _text(x + PAD + 2, y + 46, _value(value, unit), 22, "bold", shown)


def _chart(
    box: tuple[float, float, float, float], lines: Sequence[Line], span: tuple[float, float], unit: str
) -> Iterator[str]:
    x, y, width, height = box
    top = max((value for line in lines for _, value in line.points), default=0.0) or 1.0
    for part in (0, 0.5, 1):
        level = y + height * (1 - part)
        yield f'<line x1="{x}" x2="{x + width}" y1="{level:.1f}" y2="{level:.1f}" stroke="#e5e7eb"/>'
        yield _text(x, level - 2, _value(top * part, unit), 8, colour="#6b7280")
    begin, end = span
    for number, line in enumerate(lines):
        points = " ".join(
            f"{x + width * (time - begin) / (end - begin):.1f},{y + height * (1 - value / top):.1f}"
            for time, value in line.points
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'


def _legends(x: float, y: float, width: float, lines: Sequence[Line]) -> Iterator[str]:
    room = x + width - 60
    for number, line in enumerate(lines):
        if x > room:
            yield _text(x, y, "...", 8, colour="#6b7280")
            return
        yield f'<rect x="{x}" y="{y - 6}" width="8" height="3" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield _text(x + 11, y, line.name, 8, colour="#374151")
        x += 20 + 4.6 * len(line.name)


def _value(value: float, unit: str) -> str:
    match unit:
        case "s":
            return format_duration(value) if value else "0s"
        case "percentunit":
            return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.2%}"
        case "bytes":
            return f"{value / 2**20:.1f} MiB"
        case "reqps" | "eps":
            return f"{value:.3g}/s"
        case "bool_yes_no":
            return {0.0: "no", 1.0: "yes"}.get(value, "")
        case _:
            return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def _short(text: str, width: float) -> str:
    room = int((width - 16) / 5.6)
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _text(x: float, y: float, text: str, size: int, weight: str = "normal", colour: str = "#111827") -> str:
    form = f'font-size="{size}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {form}>{escape(text)}</text>'
