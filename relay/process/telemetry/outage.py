"""Outage of a collector: one log line when spans cannot be sent, one when they can again.

The SDK itself logs each attempt, each retry and each span that it drops. All of that ends here, from any thread.
"""

from __future__ import annotations

import logging
import time

import structlog

from relay.core.net.masked_url import masked_url

_LIBRARY = "opentelemetry"
_QUIET = 60.0  # seconds from one line of an outage to the next: a full queue comes and goes
_MAX_DETAIL = 200

log = structlog.get_logger()


class Outage(logging.Handler):
    """The state of a collector: away or not. As a handler, it takes what OpenTelemetry logs."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(logging.WARNING)
        self._endpoint = masked_url(endpoint)
        self._lost = 0
        self._is_away = False
        self._logged_at = -_QUIET

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a line of OpenTelemetry: all are about what could not be sent, or is configured wrongly."""
        self._begin(record.getMessage())

    def failed(self, spans: int) -> None:
        """Take note of spans that could not be sent."""
        self._lost += spans
        self._begin("they could not be sent")

    def succeeded(self) -> None:
        """Take note that spans were sent."""
        if self._is_away:
            self._is_away = False
            log.info("traces.resumed", endpoint=self._endpoint, lost=self._lost)
            self._lost = 0

    def _begin(self, detail: str) -> None:
        if self._is_away:
            return
        self._is_away = True
        if time.monotonic() - self._logged_at >= _QUIET:
            self._logged_at = time.monotonic()
            log.warning(
                "traces.not_sent",
                endpoint=self._endpoint,
                detail=" ".join(detail.split())[:_MAX_DETAIL],
                note="events are not affected; spans are dropped until the collector takes them",
            )

    def attach(self) -> None:
        """Take what OpenTelemetry logs, and keep it from every other handler."""
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self)
        library.propagate = False

    def detach(self) -> None:
        """Leave OpenTelemetry's lines to the other handlers again."""
        library = logging.getLogger(_LIBRARY)
        library.removeHandler(self)
        library.propagate = True
