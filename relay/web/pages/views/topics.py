"""Topics: their size, their readers, their latest events, and new ones as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.services.operators import overview
from relay.services.topics import topics
from relay.web.pages.charts import drawing
from relay.web.pages.charts.drawing import Series
from relay.web.pages.views.events import latest

if TYPE_CHECKING:
    from aiohttp import web

    from relay.web.pages.shell.page import Page


_READERS = 50
"""Readers that a topic's page lists: pull groups, then the subscriptions that are furthest behind."""


async def list_(page: Page) -> web.StreamResponse:
    """List the topics."""
    who = page.principal
    key = ("topics", who.team, who.topics, who.scopes)
    states = await page.site.live.shared(key, lambda: topics.list_states(page.context, who))
    flow = await overview.read_flow(page.context, who, set())
    rates = {name: values[-1][1] for name, values in flow.topics.items() if values}
    return page.show("topics.html", states=states, rates=rates)


async def show(page: Page) -> web.StreamResponse:
    """Show a topic."""
    name = page.named()
    who = page.principal
    key = ("topic", name, who.team, who.topics, who.scopes)
    state = await page.site.live.shared(key, lambda: topics.get_state(page.context, who, name))
    flow = await overview.read_flow(page.context, page.principal, set())
    series = [Series("routed a second", "accent", tuple(flow.topics.get(name, ())))]
    drawn = drawing.lines("Events a second", series, flow.at_ms - overview.HOUR_MS, flow.at_ms)
    groups = sorted(state.groups, key=lambda group: (group.is_push, -(group.lag + group.pending), group.name))
    return page.show(
        "topic.html",
        state=state,
        groups=groups[:_READERS],
        series=series,
        drawn=drawn,
        events=await latest(page, name),
    )


async def drop(page: Page) -> web.StreamResponse:
    """Delete a topic that relay.toml no longer has."""
    name = page.named()
    dropped = await topics.drop(
        page.context, page.principal, name, page.form.get("why", ""), even_unread="even_unread" in page.form
    )
    return page.go("/topics", f"{name} is dropped, with {dropped.events} events.")
