"""A session of `relay listen`: events in, POSTs out, one after the other, until it is told to end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.cli.listening.show import show_body, show_event, tell
from relay.cli.remote.answers import record_of
from relay.core.delivery.outcome import Outcome
from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.cli.listening.forward import Forward
    from relay.cli.remote.client import Api
    from relay.store.topics.record import Record

HELP = "r resends the last event, p pauses, s shows its body, q quits"


@dataclass(slots=True)
class Counts:
    """The events of a session."""

    events: int = 0
    delivered: int = 0
    failed: int = 0


class Session:
    """A session."""

    def __init__(
        self, api: Api, topic: str, query: Mapping[str, str], forward: Forward | None, *, as_json: bool
    ) -> None:
        self.counts = Counts()
        self._api = api
        self._topic = topic
        self._query = query
        self._forward = forward
        self._as_json = as_json
        self._last: Record | None = None
        self._number = 0  # how often the last one was sent
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self._sending = asyncio.Lock()

    async def run(self, keys: asyncio.Queue[str] | None, most: int | None) -> None:
        """Forward events, at most `most`; return at the key q as well.

        Raises:
            ApiError: the API refuses.
        """
        tasks = [asyncio.create_task(self._follow(most))]
        if keys is not None:
            tasks.append(asyncio.create_task(self._obey(keys)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                await end_task(task)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _follow(self, most: int | None) -> None:
        async for event in self._api.events(self._topic, self._query, tell):
            await self._goes_on.wait()
            self._last, self._number = record_of(event), 0
            self.counts.events += 1
            await self._send()
            if most is not None and self.counts.events >= most:
                return

    async def _obey(self, keys: asyncio.Queue[str]) -> None:
        while (key := (await keys.get()).lower()) != "q":
            if key == "p":
                self._toggle()
            elif key not in "rs":
                tell(HELP)
            elif self._last is None:
                tell("no event has arrived yet")
            elif key == "s":
                show_body(self._last)
            else:
                await self._send()

    def _toggle(self) -> None:
        if self._goes_on.is_set():
            self._goes_on.clear()
            tell("paused; p continues, with the events that arrived meanwhile")
        else:
            self._goes_on.set()
            tell("continuing")

    async def _send(self) -> None:
        """POST the last event, if there is where to, and show it."""
        async with self._sending:
            record = self._last
            assert record is not None  # noqa: S101  the callers have one
            self._number += 1
            sent = await self._forward.post(record, self._number) if self._forward else None
            if sent is not None and sent.outcome is Outcome.DELIVERED:
                self.counts.delivered += 1
            elif sent is not None:
                self.counts.failed += 1
            show_event(record, sent, self._number, as_json=self._as_json)
