"""The HTTP sender: makes one POST and returns its outcome.

Redirects are not followed, time and response size are bounded. The retry policy is not decided here
(`relay.core.delivery.outcome`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from relay.core.delivery.kept_answer import kept_answer
from relay.core.delivery.outcome import Attempt, Outcome, Shortage, outcome_of_status, retry_after_seconds
from relay.net.resolver import Refused
from relay.store.topics.push_headers import in_shape
from workers.transport.attempt_spans import AttemptSpans
from workers.transport.connection import DeadlineExceeded, NoResponse
from workers.transport.pool import Timeouts
from workers.transport.request_template import KindLines, RequestTemplate
from workers.transport.shortage import OurShortage

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.process.telemetry.spans import Tracer
    from relay.store.lanes.delivery import Delivery
    from workers.transport.connection import Response
    from workers.transport.pool import ConnectionPool, ConnectionPools

_MAX_KEPT = 4 * 1024  # bytes of a response
_RETRY_AFTER = b"retry-after"


class Sender:
    """Connections, clock, tracer and lines of requests that the POSTs of a process share."""

    def __init__(self, connections: ConnectionPools, clock: Callable[[], float], tracer: Tracer | None = None) -> None:
        """`clock` gives Unix seconds; without `tracer` traces are off."""
        self.connections = connections
        self.clock = clock
        self.tracer = tracer
        self.kinds = KindLines()

    def sender_for(self, subscription: Subscription, endpoint: Endpoint) -> LaneSender:
        """Return the sender of `subscription`'s lane."""
        if self.tracer is not None:
            return TracedLaneSender(self, self.tracer, subscription, endpoint)
        return LaneSender(self, subscription, endpoint)


class LaneSender:
    """The sender of one lane's deliveries."""

    def __init__(self, sender: Sender, subscription: Subscription, endpoint: Endpoint) -> None:
        self._connections = sender.connections
        self._clock = sender.clock
        self._kinds = sender.kinds
        self._subscription = subscription
        self._endpoint = endpoint
        self._shape = subscription.shape
        self._timeouts = Timeouts(subscription.connect_timeout, subscription.timeout)

    @cached_property
    def _template(self) -> RequestTemplate:
        return RequestTemplate(self._subscription, self._endpoint, self._kinds)

    @cached_property
    def _pool(self) -> ConnectionPool:
        return self._connections.pool_for(self._template.destination)

    async def attempt(self, delivery: Delivery, number: int, traceparent: str | None = None) -> Attempt | Shortage:
        """Make attempt `number` (from 1) of `delivery`; a shortage of ours is no attempt.

        `traceparent` is its trace context, if it is traced.
        """
        began = self._clock()
        status, retry_after, is_resent, answer = None, None, False, ""
        shaped = None if self._shape is None else in_shape(delivery.record, self._shape)
        try:
            try:
                template = self._template
            except OSError as error:  # the system's authorities cannot be read
                return Shortage(f"TLS: {error.strerror or error}")
            request = template.request(delivery, number, int(began), traceparent, shaped)
            response = await self._pool.exchange(request, self._timeouts)
        except DeadlineExceeded as error:
            outcome, detail, is_resent = Outcome.TIMED_OUT, str(error), error.is_resent
        except NoResponse as error:
            outcome, detail, is_resent = Outcome.UNREACHABLE, str(error), error.is_resent
        except OurShortage as error:
            return Shortage(str(error))
        except Refused as error:
            outcome, detail = Outcome.UNREACHABLE, str(error)
        except ValueError as error:  # a URL or a header that cannot be sent
            outcome, detail = Outcome.FAILED, str(error)
        else:
            status, is_resent = response.status, response.is_resent
            outcome, detail = outcome_of_status(status), ""
            retry_after = retry_after_seconds(response.header(_RETRY_AFTER), began)
            if response.flaw is not None or outcome is not Outcome.DELIVERED or self._endpoint.keeps_answers:
                detail, answer = self._kept(response, outcome)
        took = self._clock() - began
        return Attempt(
            outcome,
            round(began * 1000),
            round(took * 1000),
            status,
            detail,
            retry_after,
            is_resent,
            shaped.mark if shaped else None,
            answer,
        )

    def _kept(self, response: Response, outcome: Outcome) -> tuple[str, str]:
        """Return the texts that are kept of a response: of a failed or flawed one, and of a success to be compared."""
        if response.flaw is not None:
            return str(response.flaw), ""
        if self._endpoint.keeps_answers:
            kept = kept_answer(response.body)
            return ("", kept) if outcome is Outcome.DELIVERED else (kept, "")
        return response.body[:_MAX_KEPT].decode(errors="replace"), ""


class TracedLaneSender(LaneSender):
    """The sender of a lane, with a span for each attempt."""

    def __init__(self, sender: Sender, tracer: Tracer, subscription: Subscription, endpoint: Endpoint) -> None:
        super().__init__(sender, subscription, endpoint)
        self._spans = AttemptSpans(tracer, subscription)

    async def attempt(self, delivery: Delivery, number: int, traceparent: str | None = None) -> Attempt | Shortage:
        """Make an attempt, with a trace context of its own."""
        context = self._spans.begin(delivery)
        attempt = await super().attempt(delivery, number, traceparent or context.traceparent)
        if isinstance(attempt, Attempt):
            self._spans.end(context, delivery, number, attempt)
        return attempt
