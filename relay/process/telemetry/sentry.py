"""Errors to Sentry: each log line of level error, with its exception or the stack; only this module imports the SDK.

A thread of the SDK sends them from a bounded queue. What does not fit, or is not taken, is dropped.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import sentry_sdk
import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from relay.process.telemetry.scrubbing import Scrubber

_FLUSH = 2.0  # seconds
_LEVELS = frozenset(("error", "exception", "critical", "fatal"))
_MAX_A_MINUTE = 30  # of one name: an error can come with every event
_MINUTE = 60.0
_OTHERS = ("sentry_sdk", "opentelemetry", "urllib3")
_LOGGERS = ("structlog", "logging")
_MAX_FRAMES = 40


class SentryReports:
    """Sends the errors of a process: as a processor of structlog, and as a handler of other loggers."""

    def __init__(self, dsn: str, environment: str | None, release: str, role: str, scrubber: Scrubber) -> None:
        """Start the SDK.

        Raises:
            ValueError: `dsn` is not valid; the message does not repeat it.
        """
        try:
            sentry_sdk.init(
                dsn,
                environment=environment,
                release=release,
                default_integrations=False,
                auto_enabling_integrations=False,
                auto_session_tracking=False,
                send_client_reports=False,
                enable_backpressure_handling=False,
                propagate_traces=False,
                max_breadcrumbs=0,
                max_request_body_size="never",
                include_local_variables=False,
                include_source_context=False,  # the release tells it; to read it would take 20 ms of the loop
                spotlight=False,
                in_app_include=["relay", "workers"],
                before_send=lambda event, _: scrubber.event(event),  # type: ignore[arg-type, return-value]  # Event is a dict
            )
        except ValueError:
            raise ValueError("it is not a DSN such as https://key@sentry.example.com/1") from None
        sentry_sdk.set_tag("role", role)
        self._scrubber = scrubber
        self._sent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MAX_A_MINUTE))
        self._handler = _Handler(self)
        self._processors: list[Any] = structlog.get_config()["processors"]

    def open(self) -> None:
        """Begin to take log lines."""
        self._processors.insert(0, self)
        logging.getLogger().addHandler(self._handler)

    def close(self) -> None:
        """Send what is left, for at most two seconds."""
        logging.getLogger().removeHandler(self._handler)
        self._processors.remove(self)
        sentry_sdk.get_client().close(timeout=_FLUSH)
        sentry_sdk.get_global_scope().set_client(None)

    def __call__(self, _: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Send a log line of level error; return it unchanged."""
        if method in _LEVELS:
            self.send(str(fields.get("event")), _error_of(fields.get("exc_info")), fields)
        return fields

    def send(self, name: str, error: BaseException | None, fields: MutableMapping[str, Any] | None = None) -> None:
        """Send an error, unless many of the same name were sent within a minute."""
        now, sent = time.monotonic(), self._sent[name]
        if len(sent) == _MAX_A_MINUTE and now - sent[0] < _MINUTE:
            return
        sent.append(now)
        extra = self._scrubber.fields(fields or {}, has_error=error is not None)
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("event", name)
            if trace_id := extra.pop("trace_id", None):
                scope.set_tag("trace_id", trace_id)
            for field, value in extra.items():
                scope.set_extra(field, value)
            if error is None:
                scope.fingerprint = [name]
                event = {"level": "error", "message": self._scrubber.text(name), "threads": {"values": [_place()]}}
                sentry_sdk.capture_event(event)  # type: ignore[arg-type]  # Event is a dict
            else:
                sentry_sdk.capture_exception(error)


class _Handler(logging.Handler):
    """Errors that libraries log: named by the text without its values, which could be of a request."""

    def __init__(self, reports: SentryReports) -> None:
        super().__init__(logging.ERROR)
        self._reports = reports

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(_OTHERS):
            self._reports.send(str(record.msg), record.exc_info[1] if record.exc_info else None)


def _place() -> dict[str, Any]:
    """Return the stack of the line that is logged, as a thread of an event; the SDK's own has lines of source."""
    frames = [
        {"filename": frame.f_code.co_filename, "function": frame.f_code.co_name, "lineno": line, "module": module}
        for frame, line in traceback.walk_stack(None)
        if not (module := str(frame.f_globals.get("__name__"))).startswith((*_LOGGERS, __name__))
    ]
    return {"current": True, "stacktrace": {"frames": frames[:_MAX_FRAMES][::-1]}}


def _error_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        error: BaseException | None = exc_info[1]
        return error
    return sys.exc_info()[1] if exc_info else None
