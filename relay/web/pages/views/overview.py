"""The overview: what flows now, the last hour as charts, and what needs a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.services.operators import overview
from relay.web.pages.charts import drawing
from relay.web.pages.charts.drawing import Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from relay.services.operators.overview import Flow, Overview, Rates
    from relay.web.pages.shell.page import Page

_SHOWN = 12
"""Subscriptions and topics that the overview lists; the rest are on their own pages."""


async def show(page: Page) -> web.StreamResponse:
    """Show the overview."""
    return page.show("overview.html", **await _values(page))


async def live(page: Page) -> web.StreamResponse:
    """Stream it."""

    async def part() -> str:
        return page.text("overview_part.html", **await _values(page))

    return await page.site.live.stream(page, "overview", part)


async def _values(page: Page) -> Mapping[str, Any]:
    who = page.principal
    key = ("overview", who.team, who.topics, who.scopes)
    found: Overview = await page.site.live.shared(key, lambda: overview.read(page.context, who))
    rates = found.flow.by_subscription
    states = sorted(
        found.subscriptions, key=lambda each: (not each.needs_operator, -each.waiting, -rates.get(each.name, 0))
    )
    topics = sorted(found.topics, key=lambda each: -_now(found.flow.topics.get(each.name, [])))
    return {
        "found": found,
        "owed": sum(each.waiting + each.retrying for each in found.subscriptions),
        "dead": sum(each.dead for each in found.subscriptions),
        "states": states[:_SHOWN],
        "topics": topics[:_SHOWN],
        "topic_rates": {name: _now(values) for name, values in found.flow.topics.items()},
        "rates": {name: _now(getattr(found.flow, name)) for name in ("accepted", "routed", "delivered")},
        "charts": _charts(found.flow),
    }


def _charts(flow: Flow) -> list[tuple[str, list[Series], Any]]:
    """Return the title, the series and the drawing of each chart."""
    end = flow.at_ms
    start = end - overview.HOUR_MS
    if flow.accepted:
        events = [_series("delivered", "accent", flow.delivered), _series("accepted", "second", flow.accepted)]
        owed = [Series("waiting or retried", "warn", flow.owed)]
        return [
            ("Events a second", events, drawing.lines("Events a second", events, start, end)),
            ("Deliveries owed", owed, drawing.lines("Deliveries owed", owed, start, end)),
        ]
    events = [_series("routed to your topics", "accent", flow.routed)]
    return [("Events a second", events, drawing.lines("Events a second", events, start, end))]


def _series(label: str, kind: str, rates: Rates) -> Series:
    return Series(label, kind, tuple(rates))


def _now(rates: Rates) -> float:
    """Return the last rate."""
    return rates[-1][1] if rates else 0.0
