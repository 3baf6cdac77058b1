"""Replays: a topic's history, sent to a subscription again, with live progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event_filter import EventFilter
from relay.services.deliveries import replays
from relay.services.deliveries.replays import Request
from relay.services.wording import counted
from relay.store.topics.replays import State
from relay.web.pages.shell import fields
from relay.web.pages.views.subscriptions import all_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from relay.services.deliveries.replays import ReplayState
    from relay.web.pages.shell.page import Page


async def list_(page: Page) -> web.StreamResponse:
    """List running replays and those of the last week, the newest first."""
    return page.show("replays.html", replays=await _found(page))


async def live(page: Page) -> web.StreamResponse:
    """Stream the list."""

    async def part() -> str:
        return page.text("replays_part.html", replays=await _found(page))

    return await page.site.live.stream(page, "replays", part)


async def new(page: Page) -> web.StreamResponse:
    """Show the form of a replay."""
    states = [each for each in await all_states(page) if each.topic]
    return page.show("replay_new.html", states=states, to=page.query.get("to", ""))


async def start(page: Page) -> web.StreamResponse:
    """Start a replay; the first form shows what it would send, the second starts it."""
    now_ms, form = page.context.now_ms, page.form
    to = form.get("to", "")
    topic = next((each.topic for each in await all_states(page) if each.name == to), None) or ""
    request = Request(
        topic=topic,
        to=to,
        which=EventFilter(event_type=fields.text(form, "type"), line=fields.text(form, "line")),
        since_ms=fields.past_time(form, "since", now_ms),
        until_ms=fields.past_time(form, "until", now_ms),
        rate=fields.positive(form, "rate") or 50.0,
    )
    found = await replays.preview(page.context, page.principal, request)
    if "sure" not in form:
        kept = {name: form[name] for name in ("to", "type", "line", "since", "until", "rate") if form.get(name)}
        return page.show("replay_preview.html", found=found, kept=kept)
    started = await replays.start(page.context, page.principal, request, form.get("why", ""), of=found)
    return page.go("/replays", f"Replay {started.id} has started: {counted(started.matching, 'event')} to {to}.")


async def cancel(page: Page) -> web.StreamResponse:
    """Stop a replay."""
    ended = await replays.cancel(page.context, page.principal, page.named("id"), page.form.get("why", ""))
    return page.go("/replays", f"Replay {ended.id} is cancelled; sent: {counted(ended.sent, 'event')}.")


async def _found(page: Page) -> Sequence[ReplayState]:
    found = await replays.list_replays(page.context, page.principal)
    return sorted(found, key=lambda each: (each.replay.state is not State.RUNNING, -each.replay.started_ms))
