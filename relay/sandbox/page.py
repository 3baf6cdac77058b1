"""The sandbox on a page that a person can read, with no script in it; everything is escaped."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from relay.linq.api.v3 import KNOWN_EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.sandbox.faults.active import Active
    from relay.sandbox.state import Attempt, Delivery, SandboxState, Subscription, V2Subscription

_RECENT = 50

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Linq sandbox</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ border-bottom: 1px solid #ccc; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere }}
pre {{ background: #f3f3f3; overflow-x: auto; padding: .75rem }}
</style>
</head>
<body>
<h1>Linq sandbox</h1>
{sections}
</body>
</html>
"""

_EXAMPLES = """\
# A message to a line; "count": 100 sends a hundred.
curl -d '{{"type": "message.received", "line": "{line}", "text": "Hello"}}' {url}/sandbox/emit
# A v2 event, to v2 subscriptions.
curl -d '{{"api": "v2", "type": "message.received", "line": "{line}"}}' {url}/sandbox/emit
# Any type, with data of your own, in the older payload version, or a whole body as it is.
curl -d '{{"type": "message.sent", "line": "{line}", "data": {{"id": "1"}}}}' {url}/sandbox/emit
curl -d '{{"type": "message.read", "line": "{line}", "version": "2025-01-01"}}' {url}/sandbox/emit
curl -d '{{"type": "message.sent", "line": "{line}", "body": "not even JSON"}}' {url}/sandbox/emit
# A message that Linq recovered later; conversations without end are relay sandbox --rate 5.
curl -d '{{"type": "message.received", "line": "{line}", "reconciled_at": "2026-01-01T00:00:00Z"}}' {url}/sandbox/emit
# The next ten events come three times each; five at a time in another order; half a minute late, all at once.
curl -d '{{"kind": "duplicate", "times": 3, "count": 10}}' {url}/sandbox/faults
curl -d '{{"kind": "reorder", "window": 5}}' {url}/sandbox/faults
curl -d '{{"kind": "late", "seconds": 30}}' {url}/sandbox/faults
# Signed ten minutes ago (above 0: in the future); signed with a wrong secret; with one header family only.
curl -d '{{"kind": "timestamp", "offset": -600, "share": 0.5}}' {url}/sandbox/faults
curl -d '{{"kind": "forge", "line": "{line}", "events": ["message.*"]}}' {url}/sandbox/faults
curl -d '{{"kind": "headers", "only": "legacy"}}' {url}/sandbox/faults
# The next two calls of the API are answered 429; every fifth 500 though it is carried out; all take five seconds.
curl -d '{{"kind": "api_error", "status": 429, "retry_after": 2, "count": 2}}' {url}/sandbox/faults
curl -d '{{"kind": "api_error", "status": 500, "after": true, "share": 0.2}}' {url}/sandbox/faults
curl -d '{{"kind": "api_slow", "seconds": 5}}' {url}/sandbox/faults
# Linq switches off the subscriptions of a line.
curl -d '{{"kind": "disable", "line": "{line}"}}' {url}/sandbox/faults
# A subscription of another account, for which every call is 403.
curl -X POST {url}/sandbox/foreign-subscription
# Ends every fault, and lets go what they hold back.
curl -X DELETE {url}/sandbox/faults
# Every delivery that failed, with its attempts; and everything on this page as JSON.
curl '{url}/sandbox/deliveries?state=failed'
curl {url}/sandbox/state
"""


def page(state: SandboxState, url: str) -> str:
    """The page; `url` is where the sandbox was asked for it."""
    recent = list(islice(reversed(state.deliveries), _RECENT))
    examples = _EXAMPLES.format(line=state.lines[0] if state.lines else "+16465550123", url=url)
    sections = (
        _section("Lines", ("line", "forwarded to"), ((line, state.forwarding.get(line, "")) for line in state.lines)),
        _section(
            "Subscriptions (v3)",
            ("id", "target URL", "events", "lines", "active", "delivery affinity"),
            map(_subscription, state.subscriptions.values()),
        ),
        _section(
            "Subscriptions (v2)",
            ("id", "URL", "events", "active", "secret", "last delivered", "attempts"),
            map(_v2_subscription, state.v2_subscriptions.values()),
        ),
        _section(
            "Faults in force",
            ("id", "kind", "still hits", "holds back", "details"),
            map(_fault, state.faults.active),
        ),
        f"<h2>Making things happen</h2>\n<pre>{escape(examples)}</pre>",
        _section(
            f"Deliveries (the last {len(recent)} of {len(state.deliveries)}, newest first)",
            ("event", "type", "line", "API", "subscription", "state", "faults", "attempts"),
            map(_delivery, recent),
        ),
    )
    return _PAGE.format(sections="\n".join(sections))


def _section(title: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    body = "\n".join(_row("td", row) for row in rows)
    table = f"<table>\n{_row('th', columns)}\n{body}\n</table>" if body else "<p>None.</p>"
    return f"<h2>{escape(title)}</h2>\n{table}"


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _subscription(one: Subscription) -> tuple[object, ...]:
    affinity = f"{one.routing_key_header}, {one.id_header}" if one.routing_key_header else ""
    events = "all" if {*one.events} >= {*KNOWN_EVENT_TYPES} else ", ".join(one.events)
    lines = ", ".join(one.phone_numbers) or "all"
    return one.id, one.target_url, events, lines, _yes(one.is_active), affinity


def _v2_subscription(one: V2Subscription) -> tuple[object, ...]:
    return (
        *(one.id, one.webhook_url, ", ".join(one.events), _yes(one.active), _yes(bool(one.secret))),
        *(one.last_delivered_at or "never", one.delivery_attempts),
    )


def _fault(active: Active) -> tuple[object, ...]:
    chosen = active.fault.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "count"})
    left = "all" if active.left is None else active.left
    return (
        active.id,
        active.fault.kind,
        left,
        active.held,
        ", ".join(f"{name} {value}" for name, value in chosen.items()),
    )


def _delivery(one: Delivery) -> tuple[object, ...]:
    attempts = "; ".join(map(_attempt, one.attempts))
    line = one.line or "none"
    return (
        *(one.event_id, one.event_type, line, one.api, one.subscription_id),
        *(one.state, ", ".join(one.faults), attempts),
    )


def _attempt(one: Attempt) -> str:
    return f"{one.at}: {one.status or one.error} ({one.ms} ms)"


def _yes(value: bool) -> str:  # noqa: FBT001  a word for it
    return "yes" if value else "no"
