"""The formats of values in templates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping

DASH = "\N{EN DASH}"
"""Shown in place of what is not known, or not there."""

_STEPS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_CHIPS = {
    "good": {
        "active",
        "balances",
        "closed",
        "delivered",
        "delivering",
        "done",
        "ok",
        "ready",
        "acknowledged",
        "valid",
        "read",
    },
    "warn": {
        "failing",
        "holding up chats",
        "paused",
        "retrying",
        "replaying",
        "running",
        "sending",
        "silent",
        "flagged",
        "waiting",
    },
    "bad": {"released", "breaker open", "dead letter", "failed", "missing", "suspended", "lost", "drift"},
}


def path(value: object) -> str:
    """Return a value as one part of a path."""
    return quote(str(value), safe="")


def number(value: float | None) -> str:
    """Return a number with thin spaces between its thousands."""
    return DASH if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(count: int, thing: str) -> str:
    """Return a number of things, such as `1 event` or `2 events`."""
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


def rate(value: float | None) -> str:
    """Return a rate, with as many decimals as are worth reading."""
    if value is None:
        return DASH
    return number(value) if value >= 100 else f"{value:.1f}" if value >= 0.05 or not value else f"{value:.2f}"


def percent(part: float, whole: float) -> str:
    """Return a part in percent."""
    return DASH if not whole else f"{100 * part / whole:.3g} %"


def size(value: float | None) -> str:
    """Return a number of bytes."""
    if value is None:
        return DASH
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def duration(seconds: float | None) -> str:
    """Return a duration: its two largest units."""
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    left, parts = round(seconds), []
    for length, unit in _STEPS:
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def weekday(at_ms: float) -> str:
    """Return a day of UTC with its weekday, such as `Mon 2026-09-14`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%a %Y-%m-%d}"


def utc(at_ms: float | None) -> str:
    """Return a time in full."""
    return DASH if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


@jinja2.pass_context
def ago(values: jinja2.runtime.Context, at_ms: float | None) -> str | Markup:
    """Return a time relative to now, as an element that also has it in full."""
    if at_ms is None:
        return DASH
    seconds = (values["now_ms"] - at_ms) / 1000
    largest = duration(max(abs(seconds), 1)).split(" ")[:2]
    words = "now" if abs(seconds) < 1 else f"in {' '.join(largest)}" if seconds < 0 else f"{' '.join(largest)} ago"
    iso = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, utc(at_ms), words)


def chip_kind(state: str) -> str:
    """Return the look of a state."""
    return next((kind for kind, states in _CHIPS.items() if state in states), "idle")


def query(values: Mapping[str, Any], **changes: Any) -> str:
    """Return a query with changes; what is empty is left out."""
    merged = {**values, **changes}
    return urlencode({name: value for name, value in merged.items() if value not in {None, ""}})
