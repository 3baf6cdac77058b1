"""Subscriptions: whether each delivers, what it is owed, its attempts, and pausing, resuming and dropping it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.delivery.outcome import Outcome
from relay.core.net.masked_url import masked_url
from relay.services.deliveries import attempts, shadow_report, stored_subscriptions, subscriptions
from relay.services.operators.overview import latency_of
from relay.web.pages.charts import drawing
from relay.web.pages.charts.drawing import Series
from relay.web.pages.shell.formats import path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from relay.core.config.relay_toml import Subscription
    from relay.services.deliveries.stored_subscriptions import StoredState
    from relay.services.deliveries.subscriptions import SubscriptionState
    from relay.store.lanes.attempts.log import FoundAttempt
    from relay.web.pages.shell.page import Page

OVERLAPS = {"0s": "at once", "1h": "in an hour", "24h": "in a day", "168h": "in a week"}
"""Times for which a former secret stays valid, and their words."""

_PAGE = 100
_CHARTED = 500  # the latest attempts
_LISTED = 25
_BARS = 60
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000
_KINDS = {
    "delivered": ("good", frozenset({Outcome.DELIVERED})),
    "failed, retried": ("warn", frozenset({Outcome.FAILED, Outcome.THROTTLED, Outcome.TIMED_OUT, Outcome.UNREACHABLE})),
    "rejected": ("bad", frozenset({Outcome.REJECTED, Outcome.GONE, Outcome.REDIRECTED})),
}


async def list_(page: Page) -> web.StreamResponse:
    """List the subscriptions, those in trouble first."""
    states = await all_states(page)
    wanted, state = page.query.get("q", "").strip().lower(), page.query.get("state", "")
    found = [each for each in states if wanted in f"{each.name} {each.topic} {each.team}".lower()]
    if state:
        found = [each for each in found if (each.state == state) or (state == "trouble" and each.needs_operator)]
    found.sort(key=lambda each: (not each.needs_operator, -each.dead, -each.waiting, each.name))
    number = _number(page.query.get("page", "1"))
    shown = found[(number - 1) * _PAGE : number * _PAGE]
    return page.show(
        "subscriptions_part.html" if page.is_part else "subscriptions.html",
        states=shown,
        total=len(states),
        found=len(found),
        number=number,
        has_more=number * _PAGE < len(found),
        kinds=[str(kind) for kind in subscriptions.State],
        query=dict(page.query),
    )


async def show(page: Page) -> web.StreamResponse:
    """Show a subscription."""
    values = await _values(page)
    rules: Subscription | None = values["rules"]
    return page.show(
        "subscription.html",
        **values,
        stored=await stored_state(page, page.named()),
        url=masked_url(rules.url) if rules else "",
        overlaps=OVERLAPS,
    )


async def live(page: Page) -> web.StreamResponse:
    """Stream its numbers and attempts."""
    await subscriptions.get_state(page.context, page.principal, page.named())

    async def part() -> str:
        return page.text("subscription_part.html", **await _values(page))

    return await page.site.live.stream(page, "subscription", part)


async def compare(page: Page) -> web.StreamResponse:
    """Compare a shadow with the subscription that it shadows."""
    found = await shadow_report.report(page.context, page.principal, page.named(), limit=_PAGE)
    return page.show("shadow.html", found=found)


async def pause(page: Page) -> web.StreamResponse:
    """Pause it."""
    name = page.named()
    is_new = await subscriptions.pause(page.context, page.principal, name, page.form.get("why", ""))
    return page.go(path_of(name), f"{name} is paused; its events wait." if is_new else f"{name} was paused already.")


async def resume(page: Page) -> web.StreamResponse:
    """Resume it."""
    name = page.named()
    done = await subscriptions.resume(page.context, page.principal, name, page.form.get("why", ""))
    said = f"{name} is resumed" if done.was_paused else f"{name} was not paused"
    if done.breaker is not None:
        return page.go(
            path_of(name), f"{said}; its circuit breaker is open, and its events wait until a probe succeeds."
        )
    return page.go(path_of(name), f"{said}; it delivers again." if done.was_paused else f"{said}.")


async def drop(page: Page) -> web.StreamResponse:
    """Delete the state of a subscription that is not configured any more."""
    name, why = page.named(), page.form.get("why", "")
    even = "even_with_events" in page.form
    lost = await subscriptions.drop(page.context, page.principal, name, why, even_with_events=even)
    return page.go("/subscriptions", f"{name} is dropped, with {lost} events.")


async def all_states(page: Page) -> Sequence[SubscriptionState]:
    """Return the state of every subscription that the principal sees."""
    who = page.principal
    key = ("subscriptions", who.team, who.topics, who.scopes)
    return await page.site.live.shared(key, lambda: subscriptions.list_states(page.context, who))


def path_of(name: str) -> str:
    """Return the path of a subscription's page."""
    return f"/subscriptions/{path(name)}"


async def stored_state(page: Page, name: str) -> StoredState | None:
    """Return the subscription of that name if the API made it."""
    states = await stored_subscriptions.list_stored(page.context, page.principal)
    return next((state for state in states if state.name == name), None)


async def _values(page: Page) -> Mapping[str, Any]:
    name = page.named()
    state = await subscriptions.get_state(page.context, page.principal, name)
    config = await page.context.config()
    rules = next((each for each in config.subscriptions if each.name == name), None)
    latest = await attempts.search(page.context, page.principal, name, limit=_CHARTED)
    series, drawn = _chart(latest.items, page.context.now_ms)
    return {
        "state": state,
        "rules": rules,
        "attempts": latest.items[:_LISTED],
        "series": series,
        "drawn": drawn,
        "latency": latency_of([found.attempt.took_ms for found in latest.items]),
        "succeeded": sum(found.attempt.outcome is Outcome.DELIVERED for found in latest.items),
        "counted": len(latest.items),
    }


def _chart(found: Sequence[FoundAttempt], now_ms: int) -> tuple[list[Series], Any]:
    """Return the attempts by outcome over the time that they span, at least an hour."""
    oldest = min((each.attempt.at_ms for each in found), default=now_ms)
    span = max(now_ms - oldest, _HOUR_MS)
    step = -(-span // _BARS // _MINUTE_MS) * _MINUTE_MS
    end = (now_ms // step + 1) * step
    start = end - _BARS * step
    series = []
    for label, (kind, outcomes) in _KINDS.items():
        counts: dict[int, int] = {}
        for each in found:
            if each.attempt.outcome in outcomes:
                at = each.attempt.at_ms // step * step
                counts[at] = counts.get(at, 0) + 1
        series.append(Series(label, kind, sorted(counts.items())))
    return series, drawing.bars("Attempts by outcome", series, start, end, step)


def _number(text: str) -> int:
    return max(int(text), 1) if text.isdecimal() and len(text) < 6 else 1
