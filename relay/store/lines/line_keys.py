"""The keys of the registry of lines; `store.keys` has their contents and lifetimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


class LineKeys:
    """The names of the keys under the prefix of a client."""

    def __init__(self, redis: Redis) -> None:
        self.facts = redis.key.lines
        self.event_times = f"{self.facts}:event_times"
        self.opted_out_lines = f"{self.facts}:opt_outs"

    def week(self, line: str, week: int) -> str:
        """Return the key of a line's events in a week since 1970."""
        return f"{self.facts}:week:{week}:{line}"

    def opt_outs(self, line: str) -> str:
        """Return the key of the handles that have opted out of a line."""
        return f"{self.opted_out_lines}:{line}"

    def opt_ins(self, line: str) -> str:
        """Return the key of the handles that have opted in again."""
        return f"{self.facts}:opt_ins:{line}"
