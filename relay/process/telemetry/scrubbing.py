"""Scrubbing of what leaves for an error tracker: no bodies, secrets, numbers, addresses or query strings. Pure.

The text of an exception is kept only if it is of a kind whose texts are known: ours, which are written for operators,
and those of the network. A bug in the handling of a payload can quote it, so only the type and the stack of any other
exception are sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEFT_OUT = "[left out: the text could quote a webhook]"
_MAX_TEXT = 500
_MIN_SECRET = 6  # characters; a shorter value would be found in words
_is_secret_name = re.compile(r"SECRET|TOKEN|PASSWORD|KEY|DSN|CREDENTIAL|HEADERS").search
_KNOWN_MODULES = re.compile(r"(?:relay|workers|redis|ssl|socket|aiohttp\.client_exceptions|aiodns)(?:\..*)?")
_OS_ERRORS = {"OSError", "TimeoutError", "ConnectionError", "BrokenPipeError", "PermissionError", "FileNotFoundError"}
_FIELDS = frozenset(
    (
        *("id", "trace_id", "type", "subscription", "topic", "dialect", "entry", "outcome", "status", "code", "what"),
        *("kind", "queue", "job", "name", "api", "reason", "message", "error", "deleted", "check", "again_in_s"),
        *("count", "lost", "expired", "overflowed", "hard_cap", "size", "needed", "bytes", "fill", "high_water"),
        *("attempt", "action", "retrying", "quarantined", "dropped"),
    )
)
_IDS = frozenset(("id", "trace_id", "entry"))
_RULES = (
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), "[secret]"),
    (re.compile(r"(?<=://)[^\s/@]*@"), ""),
    (re.compile(r"\?[^\s'\"<>)\]]*=[^\s'\"<>)\]]*"), "?[query]"),
    (re.compile(r"[^\s@'\"<>/]+@[^\s@'\"<>/]+\.[A-Za-z]{2,}"), "[address]"),
    (re.compile(r"(?<![\w.-])(?!\d{13}-\d+\b)\+?\d[\d ().-]{5,}\d(?![\w-])"), "[number]"),
)


class Scrubber:
    """Scrubs texts, log fields and events; knows the secrets of this process."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """`variables` are those of the process: the values of some are secrets."""
        self._secrets = sorted(set(_secrets(variables)), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return `text` without secrets, query strings, addresses and numbers, and not long."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."

    def fields(self, fields: Mapping[str, Any], *, has_error: bool) -> dict[str, Any]:
        """Return the fields of a log line that may leave; with an exception, its text is left to `event`."""
        kept = {name: value for name, value in fields.items() if name in _FIELDS and value is not None}
        if has_error:
            kept.pop("error", None)
        return {
            name: value if isinstance(value, int | float) or name in _IDS else self.text(str(value))
            for name, value in kept.items()
        }

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event of Sentry that may leave: exceptions without variables, no breadcrumbs, no request."""
        for name in ("breadcrumbs", "request", "user", "modules"):
            event.pop(name, None)
        for error in (event.get("exception") or {}).get("values") or ():
            known = _KNOWN_MODULES.fullmatch(error.get("module") or "") or error.get("type") in _OS_ERRORS
            error["value"] = self.text(str(error.get("value"))) if known else LEFT_OUT
        for stack in _stacks(event):
            for frame in stack.get("frames") or ():
                frame.pop("vars", None)
        return event


def _secrets(variables: Mapping[str, str]) -> Iterator[str]:
    for name, value in variables.items():
        if _is_secret_name(name) and len(value) >= _MIN_SECRET:
            yield value
        if "://" in value:
            try:
                password = urlsplit(value).password
            except ValueError:
                continue
            if password:
                yield password


def _stacks(event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("exception", "threads"):
        for part in (event.get(kind) or {}).get("values") or ():
            yield part.get("stacktrace") or {}
