"""Dead letters: looking at them, and sending them back or dropping them, also many at a time with live progress."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, Problem
from relay.services.deliveries import dead_letters
from relay.services.deliveries.dead_letters import Choice
from relay.services.topics.pull import dead_letters as of_groups
from relay.web.pages.shell import fields
from relay.web.pages.views.subscriptions import all_states

if TYPE_CHECKING:
    from aiohttp import web

    from relay.web.pages.jobs import Job
    from relay.web.pages.shell.page import Page

_FILTERS = ("type", "line", "chat", "reason", "since", "until", "id")
_CRITERIA = ("subscription", *_FILTERS)


async def list_(page: Page) -> web.StreamResponse:
    """List dead letters, the oldest first."""
    name = fields.text(page.query, "subscription")
    which = fields.event_filter(page.query, page.context.now_ms)
    cursor = fields.text(page.query, "cursor")
    found = await dead_letters.search(page.context, page.principal, name, which, cursor)
    states = await all_states(page)
    return page.show(
        "dead_letters_part.html" if page.is_part else "dead_letters.html",
        letters=found.items,
        cursor=found.next,
        counts={each.name: each.dead for each in states if each.dead},
        total=sum(each.dead for each in states if name in {None, each.name}),
        criteria={field: page.query[field] for field in _CRITERIA if page.query.get(field)},
        of_groups=sorted((await of_groups.numbers(page.context, page.principal)).items()),
        query=dict(page.query),
    )


async def show(page: Page) -> web.StreamResponse:
    """Show a dead letter with its attempts."""
    found = await dead_letters.get(page.context, page.principal, page.named(), page.named("id"))
    return page.show("dead_letter.html", found=found, letter=found.letter)


async def change(page: Page) -> web.StreamResponse:
    """Send dead letters back or drop them: the chosen ones, or all that match the filter."""
    page.principal.require(Scope.REPLAY)  # the service would say so too, but only in the job
    choice = _choice(page)
    await dead_letters.search(page.context, page.principal, choice.subscription, limit=1)
    action, why = page.form.get("action", ""), page.form.get("why", "").strip()
    back = f"/dead?{urlencode({name: page.form[name] for name in _CRITERIA if page.form.get(name)})}".rstrip("?")
    if action == "replay":
        rate = fields.positive(page.form, "rate")

        async def work(job: Job) -> int:
            sent = await dead_letters.replay(page.context, page.principal, choice, why, rate=rate, progress=job.note)
            return sum(sent.values())

        job = page.site.jobs.start("Replay dead letters", page.principal, back, work)
    elif action == "drop":
        if not why:
            raise Invalid(Problem("why", "a reason is needed to drop dead letters: the audit keeps it"))

        async def work(job: Job) -> int:
            dropped = await dead_letters.drop(page.context, page.principal, choice, why, progress=job.note)
            return sum(dropped.values())

        job = page.site.jobs.start("Drop dead letters", page.principal, back, work)
    else:
        raise Invalid(Problem("action", "choose to replay or to drop"))
    return page.go(f"/jobs/{job.id}")


async def job(page: Page) -> web.StreamResponse:
    """Show a job."""
    return page.show("job.html", job=page.site.jobs.get(page.named("id"), page.principal))


async def live_job(page: Page) -> web.StreamResponse:
    """Stream its progress."""
    found = page.site.jobs.get(page.named("id"), page.principal)

    async def part() -> str:
        return page.text("job_part.html", job=found)

    return await page.site.live.stream(page, "job", part, until=lambda: not found.is_running)


def _choice(page: Page) -> Choice:
    chosen = page.forms.get("chosen", ())
    name = fields.text(page.form, "subscription")
    if "all" in page.form:
        return Choice(name, fields.event_filter(page.form, page.context.now_ms))
    if not chosen:
        raise Invalid(Problem("chosen", "no dead letter is chosen; mark some, or take all that match"))
    owners = {owner for owner, _, _ in (each.rpartition(" ") for each in chosen)}
    if len(owners) > 1:
        raise Invalid(Problem("chosen", "choose dead letters of one subscription at a time, or take all that match"))
    return Choice(owners.pop(), ids=[each.rpartition(" ")[2] for each in chosen])
