"""The HTML page of the sandbox: no script, and every value is escaped."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from relay.linq.api.v3 import KNOWN_EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.sandbox.faults.active import ActiveFault
    from relay.sandbox.state import Attempt, Delivery, SandboxState, Subscription, V2Subscription

_MAX_RECENT = 50
_MAX_SHORT = 18  # characters: `message.delivered` and any E.164 number

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
td.short {{ white-space: nowrap }}
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
# Send a message to a line; with "count": 100, a hundred messages.
curl -d '{{"type": "message.received", "line": "{line}", "text": "Hello"}}' {url}/sandbox/emit
# Send a v2 event to v2 subscriptions.
curl -d '{{"api": "v2", "type": "message.received", "line": "{line}"}}' {url}/sandbox/emit
# Send any event type: with custom data, in the older payload version, or with a verbatim body.
curl -d '{{"type": "message.sent", "line": "{line}", "data": {{"id": "1"}}}}' {url}/sandbox/emit
curl -d '{{"type": "message.read", "line": "{line}", "version": "2025-01-01"}}' {url}/sandbox/emit
curl -d '{{"type": "message.sent", "line": "{line}", "body": "not even JSON"}}' {url}/sandbox/emit
# Send a message that Linq recovered later. (For endless conversations, start: relay sandbox --rate 5)
curl -d '{{"type": "message.received", "line": "{line}", "reconciled_at": "2026-01-01T00:00:00Z"}}' {url}/sandbox/emit
# Send the next ten events three times each; shuffle events in groups of five; delay events by 30 seconds.
curl -d '{{"kind": "duplicate", "times": 3, "count": 10}}' {url}/sandbox/faults
curl -d '{{"kind": "reorder", "window": 5}}' {url}/sandbox/faults
curl -d '{{"kind": "late", "seconds": 30}}' {url}/sandbox/faults
# Sign half the events with a timestamp 10 minutes old; sign with a wrong secret; send one header family only.
curl -d '{{"kind": "timestamp", "offset": -600, "share": 0.5}}' {url}/sandbox/faults
curl -d '{{"kind": "forge", "line": "{line}", "events": ["message.*"]}}' {url}/sandbox/faults
curl -d '{{"kind": "headers", "only": "legacy"}}' {url}/sandbox/faults
# Respond 429 to the next two API calls; respond 500 to every fifth but carry it out; delay each by 5 seconds.
curl -d '{{"kind": "api_error", "status": 429, "retry_after": 2, "count": 2}}' {url}/sandbox/faults
curl -d '{{"kind": "api_error", "status": 500, "after": true, "share": 0.2}}' {url}/sandbox/faults
curl -d '{{"kind": "api_slow", "seconds": 5}}' {url}/sandbox/faults
# Disable the subscriptions of a line, as Linq does.
curl -d '{{"kind": "disable", "line": "{line}"}}' {url}/sandbox/faults
# Add a line to the account, and remove one, while the sandbox runs.
curl -d '{{"line": "+16465550126"}}' {url}/sandbox/lines
curl -X DELETE {url}/sandbox/lines/{line}
# Create a subscription of another account: every call for it gets 403.
curl -X POST {url}/sandbox/foreign-subscription
# Remove all faults and send the events that they delay.
curl -X DELETE {url}/sandbox/faults
# List failed deliveries with their attempts; get the content of this page as JSON.
curl '{url}/sandbox/deliveries?state=failed'
curl {url}/sandbox/state
"""


def page(state: SandboxState, url: str) -> str:
    """Render the page; `url` is the base URL for the examples."""
    recent = list(islice(reversed(state.deliveries), _MAX_RECENT))
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
            "Active faults",
            ("id", "kind", "hits left", "delayed events", "settings"),
            map(_fault, state.faults.active),
        ),
        f"<h2>Examples</h2>\n<pre>{escape(examples)}</pre>",
        _section(
            f"Deliveries (latest {len(recent)} of {len(state.deliveries)}, newest first)",
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
    return "<tr>" + "".join(_cell(tag, str(cell)) for cell in cells) + "</tr>"


def _cell(tag: str, text: str) -> str:
    # Numbers and event types stay on one line; only URLs, ids and lists are broken to fit.
    style = ' class="short"' if len(text) <= _MAX_SHORT else ""
    return f"<{tag}{style}>{escape(text)}</{tag}>"


def _subscription(subscription: Subscription) -> tuple[object, ...]:
    affinity = f"{subscription.routing_key_header}, {subscription.id_header}" if subscription.routing_key_header else ""
    events = "all" if {*subscription.events} >= {*KNOWN_EVENT_TYPES} else ", ".join(subscription.events)
    lines = ", ".join(subscription.phone_numbers) or "all"
    return subscription.id, subscription.target_url, events, lines, _yes_or_no(subscription.is_active), affinity


def _v2_subscription(subscription: V2Subscription) -> tuple[object, ...]:
    return (
        subscription.id,
        subscription.webhook_url,
        ", ".join(subscription.events),
        _yes_or_no(subscription.active),
        _yes_or_no(bool(subscription.secret)),
        subscription.last_delivered_at or "never",
        subscription.delivery_attempts,
    )


def _fault(active: ActiveFault) -> tuple[object, ...]:
    chosen = active.fault.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "count"})
    hits_left = "unlimited" if active.hits_left is None else active.hits_left
    return (
        active.id,
        active.fault.kind,
        hits_left,
        active.delayed_count,
        ", ".join(f"{name} {value}" for name, value in chosen.items()),
    )


def _delivery(delivery: Delivery) -> tuple[object, ...]:
    return (
        delivery.event_id,
        delivery.event_type,
        delivery.line or "none",
        delivery.api,
        delivery.subscription_id,
        delivery.state,
        ", ".join(delivery.faults),
        "; ".join(map(_attempt, delivery.attempts)),
    )


def _attempt(attempt: Attempt) -> str:
    return f"{attempt.at}: {attempt.status or attempt.error} ({attempt.ms} ms)"


def _yes_or_no(value: bool) -> str:  # noqa: FBT001  the value to format
    return "yes" if value else "no"
