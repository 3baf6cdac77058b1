"""Examples of the control API for a shell, with the URL and a line of the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.sandbox.state import SandboxState

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
# Answer the next list without its second half, or with the page of a proxy.
curl -d '{{"kind": "api_answer", "answer": "short", "count": 1}}' {url}/sandbox/faults
curl -d '{{"kind": "api_answer", "answer": "html", "path": "/v3/chats", "count": 1}}' {url}/sandbox/faults
# Messages for which no webhook is sent: one, all from now on, or many of the last hour. Linq's REST has them.
curl -d '{{"type": "message.received", "line": "{line}", "silent": true}}' {url}/sandbox/emit
curl -d '{{"kind": "lost", "line": "{line}"}}' {url}/sandbox/faults
curl -d '{{"messages": 1000, "chats": 50, "seconds": 3600}}' {url}/sandbox/outage
# Disable the subscriptions of a line, as Linq does.
curl -d '{{"kind": "disable", "line": "{line}"}}' {url}/sandbox/faults
# Add a line to the account, and remove one, while the sandbox runs.
curl -d '{{"line": "+16465550126"}}' {url}/sandbox/lines
curl -X PUT -d '{{"flagged": true}}' {url}/sandbox/lines/{line}
curl -X DELETE {url}/sandbox/lines/{line}
# Create a subscription of another account: every call for it gets 403.
curl -X POST {url}/sandbox/foreign-subscription
# Remove all faults and send the events that they delay.
curl -X DELETE {url}/sandbox/faults
# List failed deliveries with their attempts; get the content of this page as JSON.
curl '{url}/sandbox/deliveries?state=failed'
curl {url}/sandbox/state
"""


def examples(state: SandboxState, url: str) -> str:
    """Return the examples; `url` is that of the sandbox."""
    return _EXAMPLES.format(line=state.lines[0], url=url)
