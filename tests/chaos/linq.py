"""`python -m tests.chaos.linq SPEC`: send the events as Linq does, in a process of its own, and report.

Signed v3 webhooks go to every line's own URL. 5xx, 429 and missing responses are retried with growing, jittered waits;
any other 4xx is final and breaks a promise. Linq's ten attempts over 25 minutes outlast a fault of minutes; here faults
last seconds and follow each other closely, so the waits are short and the attempts many. Some events are sent twice, at
once or a little later, as Linq does when a response is lost.

Writes `linq.state` (a byte per event) and `linq.json` (the responses by time).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from relay.core.lines import digits_of_line
from relay.linq.signatures import standard, v3_legacy
from relay.process.event_loop import run, stop_on_signals
from relay.process.tasks import in_background
from tests.chaos.events import LINES, body_of, event_id, line_of, secret_of, shard_of_event, type_of
from tests.chaos.spec import Spec
from tests.chaos.timeline import Timeline
from tests.chaos.wire import Client

TIMEOUT = 5.0
"""Timeout of a response in seconds, half of Linq's, and less than an ingress waits for Redis: the repeat of a webhook
comes while the first one still waits.
"""
ACCEPTED, GIVEN_UP, REFUSED = 1, 2, 3
"""States of an event; 0 is not sent."""

_FIRST_WAIT, _MAX_WAIT, _MAX_TRIES = 0.25, 8.0, 25
_CONNECTIONS = 300  # for the events of each shard
_AT_ONCE = 64  # events in flight when there is no rate
_MAX_KEPT = 100
_TOO_MANY = 429


def path_of(number: int) -> str:
    """Return the path to which an event is posted."""
    return f"/webhooks/linq?version=2026-02-03&line={digits_of_line(LINES[line_of(number)])}&gen=1"


def headers_of(number: int) -> dict[str, str]:
    """Return the headers of an event, signed now."""
    body, line = body_of(number), LINES[line_of(number)]
    secret, now = secret_of(line), int(time.time())
    return {
        "Content-Type": "application/json",
        **standard.sign(secret, event_id(number), now, body),
        v3_legacy.EVENT: type_of(number),
        v3_legacy.SUBSCRIPTION_ID: f"linq-{digits_of_line(line)}",
        **v3_legacy.sign(secret, now, body),
    }


class Linq:
    """The sender."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._client = Client("127.0.0.1", spec.ingress_port)
        self._connections = [asyncio.Semaphore(_CONNECTIONS) for _ in range(spec.shards)]
        """Linq has enough: those that wait for a shard without a replica must not keep the others' from being sent."""
        self._dice = random.Random(spec.seed)
        self._timeline = Timeline()
        self._states = bytearray(spec.events)
        self._refused: list[str] = []

    async def send_all(self) -> None:
        """Send every event; return when the last one is decided."""
        slots = asyncio.Semaphore(_AT_ONCE if not self._spec.rate else 100_000)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(self._spec.events):
                if self._spec.rate and (early := began + number / self._spec.rate - loop.time()) > 0:
                    await asyncio.sleep(early)
                await slots.acquire()
                group.create_task(self._send(number)).add_done_callback(lambda _: slots.release())

    async def _send(self, number: int) -> None:
        """Send an event, sometimes twice."""
        match number % 50:
            case 0:
                await asyncio.gather(self._deliver(number), self._deliver(number))
            case 25:
                await self._deliver(number)
                await asyncio.sleep(3 * self._dice.random())
                await self._deliver(number)
            case _:
                await self._deliver(number)

    async def _deliver(self, number: int) -> None:
        self._timeline.record("sent", time.monotonic())
        wait = _FIRST_WAIT
        for _ in range(_MAX_TRIES):
            status, excerpt = await self._attempt(number)
            if 200 <= status < 300:
                self._states[number] = ACCEPTED
                return
            if 300 <= status < 500 and status != _TOO_MANY:
                self._decide(number, REFUSED, f"{event_id(number)}: {status} {excerpt}")
                return
            await asyncio.sleep(wait * (0.5 + self._dice.random()))
            wait = min(2 * wait, _MAX_WAIT)
        self._decide(number, GIVEN_UP, f"{event_id(number)}: given up, last {status} {excerpt}")

    def _decide(self, number: int, state: int, message: str) -> None:
        self._states[number] = self._states[number] or state  # its duplicate may have been accepted
        if len(self._refused) < _MAX_KEPT:
            self._refused.append(message)

    async def _attempt(self, number: int) -> tuple[int, str]:
        """Post an event; return the status (0 without a response) and an excerpt of the body."""
        try:
            async with self._connections[shard_of_event(number, self._spec.shards)]:
                answer = await self._client.post(path_of(number), headers_of(number), body_of(number), TIMEOUT)
        except (OSError, EOFError, ValueError) as error:
            self._timeline.record("unanswered", time.monotonic())
            return 0, repr(error)
        now_s = time.monotonic()
        self._timeline.record("accepted" if answer.status < 300 else f"answered {answer.status}", now_s)
        return answer.status, answer.body[:300].decode(errors="replace")

    def report(self) -> None:
        """Write the results."""
        (self._spec.home / "linq.state").write_bytes(self._states)
        report = {"timeline": self._timeline.encode(), "refused": self._refused}
        (self._spec.home / "linq.json").write_text(json.dumps(report))
        self._client.close()


async def main(spec: Spec) -> None:
    """Send until every event is decided, or until SIGTERM."""
    linq, stop = Linq(spec), stop_on_signals()
    async with in_background(linq.send_all()) as sending, in_background(stop.wait()) as stopped:
        await asyncio.wait({sending, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    linq.report()


if __name__ == "__main__":
    run(main(Spec.read(sys.argv[1])))
