"""Creating and changing subscriptions of the API, rotating their secrets, deleting them, and testing any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.errors import Conflict, Invalid, Problem
from relay.services.account import teams
from relay.services.deliveries import stored_subscriptions as stored
from relay.web.pages.shell import fields
from relay.web.pages.views.subscriptions import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from relay.services.deliveries.stored_subscriptions import StoredState
    from relay.web.pages.shell.page import Page


async def new(page: Page) -> web.StreamResponse:
    """Show the form of a new subscription."""
    return await _form(page, {"topic": page.query.get("topic", "")})


async def create(page: Page) -> web.StreamResponse:
    """Create a subscription, and show its signing secret: once."""
    try:
        made = await stored.create(page.context, page.principal, _table(page), page.form.get("why", ""))
    except (Invalid, Conflict) as error:
        return await _form(page, page.form, error)
    return page.show("subscription_made.html", state=made.state, secret=made.secret, is_new=True)


async def edit(page: Page) -> web.StreamResponse:
    """Show the form of a subscription."""
    state = await stored.find(page.context, page.principal, page.named())
    return await _form(page, _values(state), state=state)


async def change(page: Page) -> web.StreamResponse:
    """Change a subscription."""
    name, form = page.named(), page.form
    state = await stored.find(page.context, page.principal, name)
    try:
        patch = _patch(_table(page), state)
        if patch:
            await stored.change(
                page.context, page.principal, name, patch, fields.whole(form, "version"), form.get("why", "")
            )
    except (Invalid, Conflict) as error:
        return await _form(page, form, error, state=state)
    return page.go(path_of(name), f"{name} is changed; workers follow within seconds." if patch else "")


async def rotate(page: Page) -> web.StreamResponse:
    """Give a subscription a new signing secret, and show it: once."""
    overlap = fields.seconds(page.form, "overlap") or 0.0
    made = await stored.rotate_secret(page.context, page.principal, page.named(), overlap)
    return page.show("subscription_made.html", state=made.state, secret=made.secret, is_new=False)


async def delete(page: Page) -> web.StreamResponse:
    """Delete a subscription."""
    name = page.named()
    await stored.delete(page.context, page.principal, name, page.form.get("why", ""))
    return page.go("/subscriptions", f"{name} is deleted.")


async def send_test(page: Page) -> web.StreamResponse:
    """Send a sample event to a subscription."""
    name = page.named()
    sent = await stored.send_test(page.context, page.principal, name, fields.text(page.form, "type"))
    waits = f" It waits: {sent.waits_for}." if sent.waits_for else ""
    return page.go(path_of(name), f"A test {sent.event_type} is on its way: {sent.event_id}.{waits}")


async def _form(
    page: Page,
    values: Mapping[str, str],
    error: Invalid | Conflict | None = None,
    state: StoredState | None = None,
) -> web.Response:
    """Show the form with `values`, and beside each field what is wrong with it."""
    config = await page.context.config()
    problems: dict[str, str] = {}
    if isinstance(error, Invalid):
        for problem in error.problems:
            problems.setdefault(problem.place.partition(".")[0].partition("[")[0], problem.message)
    known = await teams.list_teams(page.context, page.principal) if page.principal.is_operator else []
    shown = ("name", "topic", "url", "team", "events", "lines", "retry", "timeout", "max_age", "rate", "headers")
    return page.show(
        "subscription_form.html",
        status=422 if error else 200,
        values=values,
        problems=problems,
        others=[f"{place}: {text}" for place, text in problems.items() if place not in shown],
        error=str(error) if isinstance(error, Conflict) else "",
        state=state,
        topics=[topic.name for topic in config.topics if page.principal.sees_topic(topic.name)],
        teams=[team.name for team in known],
    )


def _table(page: Page) -> dict[str, Any]:
    """Return the table that a form describes, as relay.toml would have it."""
    form = page.form
    table: dict[str, Any] = {
        name: text
        for name in ("name", "topic", "url", "team", "timeout", "max_age")
        if (text := fields.text(form, name))
    }
    for name in ("events", "lines", "retry"):
        if words := form.get(name, "").replace(",", " ").split():
            table[name] = words
    if rate := fields.positive(form, "rate"):
        table["rate"] = rate
    if "ordered" in form:
        table["ordered"] = "chat"
    if headers := dict(_header(line) for line in form.get("headers", "").splitlines() if line.strip()):
        table["headers"] = headers
    return table


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise Invalid(Problem("headers", f'"{line.strip()}" is not a header; write one a line, such as X-Team: crm'))
    return name.strip(), value.strip()


def _patch(table: dict[str, Any], state: StoredState) -> dict[str, Any]:
    """Return what a form changes; an empty field removes a key, and an empty list of headers keeps the present ones."""
    present = {**state.table, "topic": state.topic, "team": state.team}
    wanted = {name: value for name, value in table.items() if name != "name"}
    if wanted.get("url") == state.url:  # shown without the values of its query
        wanted.pop("url")
    optional = ("events", "lines", "retry", "timeout", "max_age", "rate", "ordered")
    removed = {name: None for name in optional if name in present and name not in wanted}
    return {name: value for name, value in wanted.items() if present.get(name) != value} | removed


def _values(state: StoredState) -> dict[str, str]:
    """Return the fields of the form of a subscription."""
    table = state.table
    values = {"name": state.name, "topic": state.topic, "url": state.url, "team": state.team or ""}
    values |= {name: " ".join(map(str, table[name])) for name in ("events", "lines", "retry") if name in table}
    values |= {name: str(table[name]) for name in ("timeout", "max_age", "rate", "ordered") if name in table}
    return values
