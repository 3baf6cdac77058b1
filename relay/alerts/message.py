"""The webhook about an alert: the form of Standard Webhooks, with a `text` that Slack and its like show. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from relay.core.durations import format_duration

if TYPE_CHECKING:
    from relay.alerts.lifecycle import Notice


def message_of(notice: Notice, runbook: str) -> bytes:
    """Return the body of the webhook about the beginning or the end of an alert; `runbook` is the URL of that page."""
    alert, link = notice.alert, f"{runbook}#{notice.alert.section.lower()}"
    data: dict[str, Any] = {
        "alert": alert.condition,
        "severity": alert.severity,
        "labels": alert.labels,
        "summary": alert.text,
        "value": alert.value,
        "since": _time(alert.since_ms),
        "runbook_url": link,
    }
    if notice.kind == "began":
        text = f"[{alert.severity}] {alert.condition}: {alert.text}. What to do: {link}"
    else:
        lasted = format_duration((notice.at_ms - alert.since_ms) / 1000)
        text = f"[ended] {alert.condition}, after {lasted}. It was: {alert.text}"
        data["ended"] = _time(notice.at_ms)
    return _body(f"relay.alert.{notice.kind}", notice.at_ms, text, data)


def message_of_test(at_ms: int, sender: str) -> bytes:
    """Return the body of a test webhook that `sender` has asked for."""
    text = f"[test] The alerts of linq-relay arrive here. {sender} has sent this test; nothing is wrong."
    return _body("relay.alert.test", at_ms, text, {"sender": sender})


def _body(kind: str, at_ms: int, text: str, data: dict[str, Any]) -> bytes:
    return to_json({"type": kind, "timestamp": _time(at_ms), "text": text, "data": data})


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
