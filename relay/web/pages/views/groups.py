"""Pull groups: their lag, moving and deleting them; their dead letters, with giving them back and dropping them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, Problem
from relay.services.deliveries.dead_letters import Progress
from relay.services.topics import groups
from relay.services.topics.groups import Target
from relay.services.topics.pull import dead_letters, states
from relay.services.topics.pull.dead_letters import Choice
from relay.services.wording import counted
from relay.store.keys import GroupName
from relay.web.pages.shell import fields
from relay.web.pages.shell.formats import path

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from relay.web.pages.jobs import Job
    from relay.web.pages.shell.page import Page

_FILTERS = ("type", "line", "chat", "reason", "since", "until", "id")

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
    group = await groups.get_group(page.context, page.principal, topic, name)
    oldest = await states.oldest_pending(page.context, page.principal, group)
    return page.show("group.html", group=group, oldest=oldest, is_not_read=group.is_not_read(page.context.now_ms))


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
    with_letters = page.form.get("dead") == "drop"
    await groups.delete(page.context, page.principal, topic, name, page.form.get("why", ""), with_letters=with_letters)
    return page.go("/groups", f"{name} is deleted.")


async def list_letters(page: Page) -> web.StreamResponse:
    """List the dead letters of a pull group, the oldest first."""
    name = _named(page)
    which = fields.event_filter(page.query, page.context.now_ms)
    found = await dead_letters.search(page.context, page.principal, name, which, fields.text(page.query, "cursor"))
    numbers = await dead_letters.numbers(page.context, page.principal)
    return page.show(
        "group_letters.html",
        name=name,
        here_path=f"/groups/{path(name.topic)}/{path(name.group)}/dead",
        letters=found.items,
        cursor=found.next,
        total=numbers.get(name, 0),
        criteria={field: page.query[field] for field in _FILTERS if page.query.get(field)},
        query=dict(page.query),
    )


async def show_letter(page: Page) -> web.StreamResponse:
    """Show a dead letter of a pull group with its body."""
    name = _named(page)
    found = await dead_letters.get(page.context, page.principal, name, page.named("id"))
    here_path = f"/groups/{path(name.topic)}/{path(name.group)}/dead"
    return page.show("group_letter.html", found=found, letter=found.letter, name=name, here_path=here_path)


async def change_letters(page: Page) -> web.StreamResponse:
    """Give dead letters back to their group or drop them: the chosen ones, or all that match the filter."""
    page.principal.require(Scope.REPLAY)  # the service would say so too, but only in the job
    name = _named(page)
    choice = _choice(page, name)
    await dead_letters.search(page.context, page.principal, name, limit=1)
    action, why = page.form.get("action", ""), page.form.get("why", "").strip()
    criteria = {field: page.form[field] for field in _FILTERS if page.form.get(field)}
    back = f"/groups/{path(name.topic)}/{path(name.group)}/dead?{urlencode(criteria)}".rstrip("?")
    if action == "replay":

        async def work(job: Job) -> int:
            note = _noting(job, name)
            done = await dead_letters.replay(page.context, page.principal, choice, why, progress=note)
            if done.gone:
                letters = counted(len(done.gone), "dead letter")
                job.remark = f"The topic no longer keeps the events of {letters}, which stay."
            return done.replayed

        job = page.site.jobs.start("Give dead letters back to their group", page.principal, back, work)
    elif action == "drop":
        if not why:
            raise Invalid(Problem("why", "a reason is needed to drop dead letters: the audit keeps it"))

        async def work(job: Job) -> int:
            note = _noting(job, name)
            return await dead_letters.drop(page.context, page.principal, choice, why, progress=note)

        job = page.site.jobs.start("Drop dead letters", page.principal, back, work)
    else:
        raise Invalid(Problem("action", "choose to replay or to drop"))
    return page.go(f"/jobs/{job.id}")


def _named(page: Page) -> GroupName:
    return GroupName(page.named("topic"), page.named())


def _choice(page: Page, name: GroupName) -> Choice:
    if "all" in page.form:
        return Choice(name, fields.event_filter(page.form, page.context.now_ms))
    chosen = page.forms.get("chosen", ())
    if not chosen:
        raise Invalid(Problem("chosen", "no dead letter is chosen; mark some, or take all that match"))
    return Choice(name, ids=chosen)


def _noting(job: Job, name: GroupName) -> Callable[[int, int], None]:
    return lambda done, total: job.note(Progress(str(name), done, total))


def _target(page: Page) -> Target:
    to = page.form.get("to", "").strip()
    if to in {"start", "end"}:
        return Target.start() if to == "start" else Target.end()
    at_ms = fields.past_time(page.form, "to", page.context.now_ms)
    if at_ms is None:
        raise Invalid(Problem("to", "write start, end, 2h (ago), or a time such as 2026-09-14T09:15Z"))
    return Target.at(at_ms)
