"""Linq's side: lines, webhooks in quarantine, contracts, and the subscriptions at Linq."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay.contracts.facts import FACTS
from relay.core.event_filter import EventFilter
from relay.services.operators import contracts, lines, linq, opt_outs, quarantine
from relay.services.topics.history.view import shown_body
from relay.web.pages.shell import fields
from relay.web.pages.shell.formats import counted, path

if TYPE_CHECKING:
    from aiohttp import web

    from relay.store.contracts.record import Sample
    from relay.web.pages.shell.page import Page

_SHOWN = 4096  # characters of a body


async def list_lines(page: Page) -> web.StreamResponse:
    """List the lines."""
    return page.show("lines.html", lines=await lines.list_lines(page.context, page.principal))


async def show_line(page: Page) -> web.StreamResponse:
    """Show a line."""
    return page.show("line.html", line=await lines.get_line(page.context, page.principal, page.named()))


async def list_opt_outs(page: Page) -> web.StreamResponse:
    """List the handles that have opted out of a line, the oldest first."""
    line, cursor = page.named(), fields.text(page.query, "cursor")
    found = await opt_outs.list_opt_outs(page.context, page.principal, line, cursor)
    query = dict(page.query)
    return page.show("opt_outs.html", line=line, found=found.items, cursor=found.next, query=query)


async def show_linq(page: Page) -> web.StreamResponse:
    """Show the drift that the last check found."""
    found = await linq.drift(page.context, page.principal)
    return page.show("linq.html", drift=found, can_look=page.site.linq is not None)


async def look(page: Page) -> web.StreamResponse:
    """Show what is at Linq now; a part of that page, which asks Linq."""
    return page.show("linq_part.html", look=await linq.look(page.principal, page.site.linq))


async def list_quarantined(page: Page) -> web.StreamResponse:
    """List quarantined webhooks, the oldest first."""
    which = fields.event_filter(page.query, page.context.now_ms)
    found = await quarantine.search(page.context, page.principal, which, fields.text(page.query, "cursor"))
    return page.show("quarantine.html", bodies=found.items, cursor=found.next, query=dict(page.query))


async def show_quarantined(page: Page) -> web.StreamResponse:
    """Show a quarantined webhook."""
    body = await quarantine.get(page.context, page.principal, page.named("id"))
    text = str(shown_body(page.context.settings, body.body))[:_SHOWN]
    return page.show("quarantined.html", body=body, text=text)


async def change_quarantined(page: Page) -> web.StreamResponse:
    """Retry or drop quarantined webhooks: one, or all."""
    entry = fields.text(page.form, "id")
    which = EventFilter(event_ids={entry}) if entry else EventFilter()
    why = page.form.get("why", "")
    if page.form.get("action") == "drop":
        dropped = await quarantine.drop(page.context, page.principal, which, why)
        return page.go("/quarantine", f"{dropped} webhooks are dropped.")
    done = await quarantine.retry(page.context, page.principal, which, why)
    notice = f"{done.accepted} were accepted, {done.repeats} were repeats, {done.unreadable} still cannot be parsed."
    return page.go("/quarantine", notice)


async def list_contracts(page: Page) -> web.StreamResponse:
    """List event types and payload versions, of both APIs or of one, those that have changed first."""
    found = await contracts.list_contracts(page.context, page.principal)
    apis, wanted = sorted({state.api for state in found}), fields.text(page.query, "api")
    shown = [state for state in found if wanted not in apis or state.api == wanted]
    shown.sort(key=lambda state: not state.changes)
    return page.show("contracts.html", contracts=shown, facts=FACTS, apis=apis if len(apis) > 1 else (), api=wanted)


async def show_contract(page: Page) -> web.StreamResponse:
    """Show what was learned of an event type, in each payload version."""
    name = page.named()
    found = await contracts.get_contracts(page.context, page.principal, name)
    shown = [(each, (("Usual payload", each.usual), ("Changed payload", each.changed))) for each in found]
    return page.show("contract.html", name=name, found=shown, facts=FACTS, as_json=_payload)


async def accept_contract(page: Page) -> web.StreamResponse:
    """Accept the changes of an event type as known."""
    name = page.named()
    accepted = await contracts.accept_changes(page.context, page.principal, name, fields.text(page.form, "why") or "")
    return page.go(f"/contracts/{path(name)}", f"{counted(len(accepted), 'change')} accepted.")


def _payload(sample: Sample) -> str:
    """Return a payload without its content as lines of JSON."""
    return json.dumps(sample.payload, indent=2)
