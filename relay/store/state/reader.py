"""The state in Redis as metrics: read when a process is scraped, in bounded time, and kept for a few seconds.

Redis itself has one second to answer; else it is down. The state has five more; what was read by then is shown, and
`relay_redis_read_complete` is 0. Only lanes at rest are kept from one reading to the next, which costs what the active
ones cost (`relay.store.ledger.kept`): the series of a subscription or topic that was dropped are gone.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from relay.metrics import declared
from relay.metrics.metric import Kind
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.ledger.kept import KeptStates
from relay.store.state.reading import read_state
from relay.store.state.sample import Sample
from relay.store.state.server import whole_server_samples

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from prometheus_client import Metric as Family

    from relay.core.config.relay_toml import RelayConfig
    from relay.metrics.metric import Metric
    from relay.store.driver.client import Redis

MAX_AGE = 3.0
"""Seconds for which a reading is kept."""

_SERVER_DEADLINE = 1.0  # seconds
_STATE_DEADLINE = 5.0  # seconds; Prometheus waits for ten
_FAMILIES = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily}

log = structlog.get_logger()


class RedisReader:
    """A reader of the state, for `ProcessMetrics.add_reader`."""

    def __init__(
        self,
        redis: Redis,
        rules: Callable[[], Awaitable[RelayConfig | None]],
        max_age: float = MAX_AGE,
        deadline: float = _STATE_DEADLINE,
    ) -> None:
        """`rules` returns those in force; a reading is kept for `max_age` seconds, and may take `deadline` seconds."""
        self._redis = redis
        self._lanes = KeptStates(redis)
        self._rules = rules
        self._max_age = max_age
        self._deadline = deadline
        self._samples: list[Sample] = []
        self._read_at: float | None = None
        self._error: str | None = None

    async def read(self) -> None:
        """Read the state, unless that was done a moment ago."""
        loop = asyncio.get_running_loop()
        if self._read_at is not None and loop.time() - self._read_at < self._max_age:
            return
        samples: list[Sample] = []
        error = await self._read_into(samples)
        samples.append(Sample(declared.REDIS_READ_COMPLETE, error is None))
        self._samples, self._read_at = samples, loop.time()
        if error and error != self._error:
            log.warning("metrics.incomplete", error=error)
        self._error = error

    async def _read_into(self, samples: list[Sample]) -> str | None:
        """Add what can be read to `samples`; return why that is not all."""
        try:
            async with asyncio.timeout(_SERVER_DEADLINE):
                samples += await whole_server_samples(self._redis)
        except REDIS_ERRORS as error:
            samples[:] = [Sample(declared.REDIS_UP, 0)]
            return f"Redis does not answer: {describe(error)}"
        try:
            async with asyncio.timeout(self._deadline):
                rules = await self._rules()
                async with aclosing(read_state(self._redis, rules, lanes=self._lanes)) as parts:
                    async for part in parts:
                        samples += part
        except TimeoutError:
            return f"the state in Redis was not read within {self._deadline:g} s"
        except Exception as error:  # noqa: BLE001  of any kind, also a key that is overwritten: the rest is shown
            return describe(error)
        return None

    def collect(self) -> Iterator[Family]:
        """Yield the families of the last reading."""
        by_metric: dict[Metric, list[Sample]] = {}
        for sample in self._samples:
            by_metric.setdefault(sample.metric, []).append(sample)
        for metric, found in by_metric.items():
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            for sample in found:
                family.add_metric(sample.labels, float(sample.value))
            yield family

    def describe(self) -> list[Family]:
        """Return nothing, so that registering does not collect."""
        return []
