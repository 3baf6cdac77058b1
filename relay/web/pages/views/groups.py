"""Pull groups: their lag, moving them in their topic, and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.errors import Invalid, Problem
from relay.services.topics import groups
from relay.services.topics.groups import Target
from relay.services.wording import counted
from relay.web.pages.shell import fields
from relay.web.pages.shell.formats import path

if TYPE_CHECKING:
    from aiohttp import web

    from relay.web.pages.shell.page import Page


_SHOWN = 200
"""Groups of a page: a relay has few."""


async def list_(page: Page) -> web.StreamResponse:
    """List the pull groups."""
    who = page.principal
    key = ("groups", who.team, who.topics, who.scopes)
    found = await page.site.live.shared(key, lambda: groups.list_groups(page.context, who))
    return page.show("groups.html", groups=found[:_SHOWN], total=len(found))


async def show(page: Page) -> web.StreamResponse:
    """Show a pull group."""
    topic, name = page.named("topic"), page.named()
    return page.show("group.html", group=await groups.get_group(page.context, page.principal, topic, name))


async def seek(page: Page) -> web.StreamResponse:
    """Move a pull group; the first form shows what that does, the second does it."""
    topic, name = page.named("topic"), page.named()
    plan = await groups.plan(page.context, page.principal, topic, name, _target(page))
    if "sure" not in page.form:
        return page.show("group_seek.html", plan=plan, topic=topic, name=name, to=page.form.get("to", ""))
    again = await groups.seek(page.context, page.principal, plan, page.form.get("why", ""))
    return page.go(
        f"/groups/{path(topic)}/{path(name)}",
        f"{name} was moved; {counted(again, 'event')} that it held will be delivered again.",
    )


async def delete(page: Page) -> web.StreamResponse:
    """Delete a pull group."""
    topic, name = page.named("topic"), page.named()
    await groups.delete(page.context, page.principal, topic, name, page.form.get("why", ""))
    return page.go("/groups", f"{name} is deleted.")


def _target(page: Page) -> Target:
    to = page.form.get("to", "").strip()
    if to in {"start", "end"}:
        return Target.start() if to == "start" else Target.end()
    at_ms = fields.past_time(page.form, "to", page.context.now_ms)
    if at_ms is None:
        raise Invalid(Problem("to", "write start, end, 2h (ago), or a time such as 2026-09-14T09:15Z"))
    return Target.at(at_ms)
