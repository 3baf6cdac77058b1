"""A run of the alerts (`alerting`): a look for problems, and the sending of webhooks about them.

See `relay.alerts` for the way from a problem to its webhook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.alerts import history, state
from relay.alerts.conditions import problems
from relay.alerts.lifecycle import Step, advance
from relay.alerts.message import message_of
from relay.alerts.post import PostError, post
from relay.alerts.reading import IncompleteReading, read_facts
from relay.store.state.kept import KeptState

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.core.config.alerts import Alerts
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.ledger.kept import KeptStates

_MAX_SENT = 20  # webhooks of one run

log = structlog.get_logger()


class AlertRun:
    """The search for problems, and the sending of webhooks about them."""

    def __init__(self, redis: Redis, rules: RulesInForce, clock: Callable[[], float], lanes: KeptStates) -> None:
        """`clock` gives Unix seconds; `lanes` are the states of the lanes."""
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._kept = KeptState(redis, lanes)

    async def run(self, lease: Lease) -> None:
        """Look for problems, and send what waits to be sent; `lease` is that on the alerts.

        Raises:
            LeaseLost: another worker does it.
        """
        alerts = self._rules.current.config.alerts
        if alerts is None:
            return
        try:
            await self._look(alerts, lease)
        except IncompleteReading as error:  # what was not read must not count as ended
            log.warning("alerts.not_evaluated", error=str(error))
        await self._send(lease)

    async def _look(self, alerts: Alerts, lease: Lease) -> None:
        now = self._clock()
        facts = await read_facts(self._redis, self._rules.current, now, self._kept)
        known = await state.watched(self._redis)
        step = advance(known, problems(facts, alerts), round(now * 1000))
        messages = [message_of(notice, alerts.runbook) for notice in step.notices]
        if known or step.alerts:
            await state.save(self._redis, lease.token, step.alerts, messages, round(now * 1000))
        await history.record(self._redis, facts.counts, now)
        _log(step)

    async def _send(self, lease: Lease) -> None:
        destination = self._rules.current.alerts
        assert destination is not None  # noqa: S101  it is loaded with the table
        sending = await state.sending(self._redis)
        if sending.due_ms > self._clock() * 1000:
            return
        for waiting in await state.outbox(self._redis, _MAX_SENT):
            if not lease.is_sure:
                return
            now = self._clock()
            try:
                await post(*destination, waiting.webhook_id, waiting.body, now)
            except PostError as error:
                if not state.is_stale(waiting, now):
                    await state.record_failure(self._redis, sending, str(error), now)
                    log.warning("alerts.not_sent", error=str(error), failures=sending.failures + 1)
                    return
                log.error("alerts.given_up", error=str(error), id=waiting.webhook_id)  # noqa: TRY400  no bug
            await state.remove(self._redis, waiting)


def _log(step: Step) -> None:
    for notice in step.notices:
        alert = notice.alert
        fields = {"alert": alert.condition, "severity": alert.severity, **alert.labels, "what": alert.text}
        if notice.kind == "began":
            log.warning("alert.began", **fields)
        else:
            log.info("alert.ended", **fields)
