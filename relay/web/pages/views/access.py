"""Teams, tokens and the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, Problem
from relay.core.event_filter import EventFilter
from relay.services.account import audit, teams, tokens
from relay.web.pages.shell import fields

if TYPE_CHECKING:
    from aiohttp import web

    from relay.web.pages.shell.page import Page

_LIFETIMES = {"1d": "a day", "30d": "30 days", "90d": "90 days", "365d": "a year", "": "no end"}


async def list_teams(page: Page) -> web.StreamResponse:
    """List the teams and the tokens."""
    context, who = page.context, page.principal
    config = await context.config()
    return page.show(
        "teams.html",
        teams=await teams.list_teams(context, who),
        tokens=await tokens.list_tokens(context, who),
        topics=[topic.name for topic in config.topics if who.sees_topic(topic.name)],
        lifetimes=_LIFETIMES,
        scopes=[(scope, scope in who.scopes) for scope in Scope],
    )


async def create_team(page: Page) -> web.StreamResponse:
    """Create a team."""
    form = page.form
    name = form.get("name", "").strip()
    granted = page.forms.get("topics", ())
    await teams.create_team(page.context, page.principal, name, granted, form.get("contact", ""), form.get("why", ""))
    return page.go("/teams", f"The team {name} is made. Give it a token.")


async def change_team(page: Page) -> web.StreamResponse:
    """Change the topics and the contact of a team."""
    version = page.form.get("version", "")
    await teams.change_team(
        page.context,
        page.principal,
        page.named(),
        topics=page.forms.get("topics", ()),
        contact=page.form.get("contact", ""),
        version=int(version) if version.isdecimal() else None,
        why=page.form.get("why", ""),
    )
    return page.go("/teams", f"The team {page.named()} is changed.")


async def delete_team(page: Page) -> web.StreamResponse:
    """Delete a team."""
    await teams.delete_team(page.context, page.principal, page.named(), why=page.form.get("why", ""))
    return page.go("/teams", f"The team {page.named()} is deleted.")


async def create_token(page: Page) -> web.StreamResponse:
    """Create a token, and show it: once."""
    form, known = page.form, frozenset(Scope)
    scopes = page.forms.get("scopes", ())
    if unknown := sorted({*scopes} - known):
        raise Invalid(Problem("scopes", f'"{unknown[0]}" is not a scope; the scopes are {", ".join(Scope)}'))
    made = await tokens.create_token(
        page.context,
        page.principal,
        form.get("label", "").strip(),
        team=fields.text(form, "team"),
        scopes=map(Scope, scopes),
        lifetime=fields.seconds(form, "lifetime"),
        why=form.get("why", ""),
    )
    return page.show("token_new.html", made=made)


async def rotate_token(page: Page) -> web.StreamResponse:
    """Give a token a new secret, and show it: once."""
    why = page.form.get("why", "")
    return page.show(
        "token_new.html", made=await tokens.rotate_token(page.context, page.principal, page.named("id"), why=why)
    )


async def revoke_token(page: Page) -> web.StreamResponse:
    """Revoke a token."""
    revoked = await tokens.revoke_token(page.context, page.principal, page.named("id"), page.form.get("why", ""))
    return page.go("/teams", f"{revoked.label} is revoked; its sessions have ended.")


async def list_audit(page: Page) -> web.StreamResponse:
    """List what was changed, the newest first."""
    query = page.query
    now_ms = page.context.now_ms
    which = EventFilter(since_ms=fields.past_time(query, "since", now_ms), reason=fields.text(query, "reason"))
    found = await audit.search(page.context, page.principal, which, fields.text(query, "cursor"))
    return page.show("audit.html", records=found.items, cursor=found.next, query=dict(query))
