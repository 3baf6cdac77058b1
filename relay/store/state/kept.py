"""The parts of the state that are kept from one reading to the next, by a process that looks for problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.state.linq.lines import line_samples, read_lines

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis
    from relay.store.ledger.kept import KeptStates
    from relay.store.state.sample import Sample

_MANY_LINES = 500
_INTERVAL_MS = 5 * 60_000


class KeptState:
    """The lanes that are at rest, and the samples of many lines.

    A line is judged by its week, which takes 0.2 ms of CPU and changes slowly: more than 500 lines are judged every
    five minutes, and also when the rules have changed.
    """

    def __init__(self, redis: Redis, lanes: KeptStates) -> None:
        """`lanes` are the states of the lanes, which may be shared with others."""
        self.lanes = lanes
        self._redis = redis
        self._config: RelayConfig | None = None
        self._lines: list[Sample] = []
        self._lines_until_ms = 0

    async def lines(self, config: RelayConfig | None, now_ms: int) -> list[Sample]:
        """Return the samples of the lines."""
        if now_ms < self._lines_until_ms and config is self._config:
            return self._lines
        lines = await read_lines(self._redis, config, now_ms)
        self._config, self._lines = config, list(line_samples(lines))
        self._lines_until_ms = now_ms + _INTERVAL_MS if len(lines) > _MANY_LINES else 0
        return self._lines
