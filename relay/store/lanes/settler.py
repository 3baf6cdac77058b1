"""Settling: the verdicts on deliveries, written in batches over all lanes of a partition, also of several shards.

A script per batch settles each delivery, counts it and stores its attempt in the same step. While Redis is unavailable,
verdicts are kept and retried: the POST has been made, and without its verdict it would be sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from relay.core.config.relay_toml import AttemptBounds
from relay.core.delivery.outcome import DeadLettered, Delivered, Filtered, Outcome, RetryAt
from relay.store.driver.batcher import Batcher, UserOfBatches, by_group, in_order_of
from relay.store.driver.client import WORKER_TIMEOUT, retry_until_redis_answers
from relay.store.driver.fenced_reads import Claim
from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.scripts import Script
from relay.store.isolation import error_of
from relay.store.lanes.attempts.record import AttemptLimits, AttemptRecord, encode_detail, shape_word

if TYPE_CHECKING:
    from relay.core.delivery.outcome import Attempt, Verdict
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery, Tries
    from relay.store.lanes.lane import Lane

    Value = bytes | str | int

_MAX_BATCH = 128  # blocks Redis for about 0.5 ms, twice that on a busy machine
_MAX_BATCH_BYTES = 8 * 1024 * 1024
_MAX_IN_FLIGHT = 2  # batches; no delivery is in both, so their order is irrelevant
_MIN_BESIDE = 16
"""Verdicts for a second batch: fewer wait for the first one, since a round trip costs as much as some ten of them."""
_LINGER = 0.01
"""Seconds that a verdict without hurry waits for others. At 300 events/s one script settles three; a worker that is
killed has made as many more deliveries that will be made again.
"""
_DEAD_PREFIX = b"dead_"

_DEFAULT_LIMITS = AttemptLimits.from_size(AttemptBounds().size)

_settle = Script(__package__, "settle")


class Settlement(NamedTuple):
    """A delivery, its last attempt and the verdict."""

    lane: Lane
    delivery: Delivery
    attempt: Attempt | None
    """None if the verdict needed no attempt."""
    tries: Tries
    """All attempts, including the last."""
    verdict: Verdict
    at_ms: int
    """Time of the verdict, Unix milliseconds."""
    is_probe: bool = False
    """True if the breaker was open when the attempt was made."""
    limits: AttemptLimits = _DEFAULT_LIMITS
    """The limits of the lane's log of attempts."""
    blocks: str = ""
    """The chat to block if the delivery is dead-lettered; empty for none."""


class SettlementBatches(Batcher[tuple[Settlement, Claim], Exception | None]):
    """The writes of settlements to one server, each with the claim of its shard. Enter it as a context."""

    def __init__(self, redis: Redis) -> None:
        """`redis` is the client of any shard there."""
        self._ordered = OrderedConnection(redis, WORKER_TIMEOUT)
        super().__init__(
            self._settle,
            size_of=lambda item: len(item[0].delivery.fields.get(b"body", b"")),
            max_items=_MAX_BATCH,
            max_bytes=_MAX_BATCH_BYTES,
            max_in_flight=_MAX_IN_FLIGHT,
            min_beside=_MIN_BESIDE,
            linger=_LINGER,
            connection=self._ordered,
        )

    async def _settle(self, items: list[tuple[Settlement, Claim]]) -> list[Exception | None]:
        by_claim = by_group(items)
        arguments: list[Value] = []
        for (_, token), settlements in by_claim.items():
            arguments += (token, len(settlements))
            for settlement in settlements:
                kind, values = _verdict_arguments(settlement)
                lane, ref = settlement.lane, settlement.delivery.ref
                arguments += (
                    kind,
                    lane.key,
                    ref.stream,
                    lane.group,
                    ref.entry,
                    int(settlement.delivery.is_replay),
                    *_attempt_arguments(settlement),
                    len(values),
                    *values,
                )
        leases = [claim.lease for claim in by_claim]
        _, *failures = await retry_until_redis_answers(
            "settling deliveries", lambda: _settle.in_order(self._ordered, leases, arguments)
        )
        results: list[Exception | None] = [None] * len(items)
        for number, text in zip(failures[::2], failures[1::2], strict=True):
            results[number - 1] = error_of(text.decode(errors="replace"))
        return in_order_of(items, by_claim, results) if failures else results


class Settler(UserOfBatches[SettlementBatches]):
    """A writer of settlements, fenced by the lease of `token`. Enter it as a context."""

    def __init__(self, redis: Redis, job_id: str, token: str, shared: SettlementBatches | None = None) -> None:
        """`shared` are the batches that it shares with other shards; without them it has its own."""
        super().__init__(lambda: SettlementBatches(redis), shared)
        self._claim = Claim(redis.key.lease(job_id), token)

    async def settle(self, settlement: Settlement, *, lingers: bool = False) -> None:
        """Write the verdict; without effect if another worker has the lease, except for a success.

        One that `lingers` is written a little later, together with others.

        Raises:
            WrongType: a key of the lane is of a wrong type; nothing was written.
            ResponseError: Redis refused this verdict, and no other of its batch.
        """
        if error := await self._batches.submit((settlement, self._claim), lingers=lingers):
            raise error


def _verdict_arguments(settlement: Settlement) -> tuple[str, list[Value]]:
    verdict = settlement.verdict
    match verdict:
        case Delivered():
            return "done", _blocked_by(settlement.delivery)
        case Filtered():
            return "filtered", _blocked_by(settlement.delivery)
        case RetryAt():
            return "again", [verdict.due_ms, settlement.tries.encode()]
        case DeadLettered():
            return "dead", [settlement.blocks, *_letter(settlement, verdict)]
        case _:
            assert_never(verdict)


def _blocked_by(delivery: Delivery) -> list[Value]:
    return [delivery.blocks] if delivery.blocks else []


def _attempt_arguments(settlement: Settlement) -> tuple[bytes, bytes, int, int]:
    """Return the attempt record, the failure's detail, and the limit of each."""
    delivery, attempt, verdict = settlement.delivery, settlement.attempt, settlement.verdict
    if attempt is None:
        return b"", b"", 0, 0
    record = delivery.record
    outcome = attempt.outcome
    attempt_record = AttemptRecord(  # by position, which takes half the time of names
        delivery.topic,
        delivery.ref.entry,
        record.id,
        record.type,
        record.line,
        record.chat,
        record.message,
        record.trace,
        delivery.tries.count + 1,
        settlement.is_probe,
        delivery.is_replay,
        attempt.at_ms,
        attempt.took_ms,
        outcome,
        attempt.status,
        verdict.due_ms if isinstance(verdict, RetryAt) else None,
        verdict.reason if isinstance(verdict, DeadLettered) else None,
        shape_word(attempt.shape) if attempt.shape is not None else None,
    )
    text = attempt.answer if outcome is Outcome.DELIVERED else attempt.detail
    answer = encode_detail(text) if text else b""
    return attempt_record.encode(), answer, *settlement.limits


def _letter(settlement: Settlement, verdict: DeadLettered) -> list[Value]:
    """Return the fields of the dead letter: the event as in its topic, and the reason."""
    delivery, attempt = settlement.delivery, settlement.attempt
    fields: list[Value] = []
    for name, value in delivery.fields.items():
        if not name.startswith(_DEAD_PREFIX):
            fields += (name, value)
    fields += ("dead_topic", delivery.topic, "dead_entry", delivery.first_entry)
    fields += ("dead_at", settlement.at_ms, "dead_reason", verdict.reason)
    fields += ("dead_tries", settlement.tries.count, "dead_first_at", settlement.tries.first_ms)
    if delivery.is_test:
        fields += ("dead_test", 1)
    if settlement.blocks:
        fields += ("dead_blocks", settlement.blocks)
    if attempt is not None:
        fields += ("dead_status", attempt.status or "", "dead_detail", encode_detail(attempt.detail))
    return fields
