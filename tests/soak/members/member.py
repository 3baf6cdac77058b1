"""A member in Python, on `relay.consumer`: tells what it begins and ends on its output."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from relay.consumer import Event, consume

_POISON = int(os.environ["SOAK_POISON_EVERY"])
_SLOW = int(os.environ["SOAK_SLOW_EVERY"])
_AT_A_TIME = 4  # handlers, so that the order of each chat is put to the test


def tell(*words: object) -> None:
    """Write a line that is whole, and there at once, whatever happens next."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def tell_lost(what: str, number: int) -> None:
    """Write to the log what was trimmed before it was handled."""
    sys.stderr.write(f"told: {what} {number}\n")


async def handle(event: Event) -> None:
    """Treat an event by its number (`tests.soak.options`)."""
    number = int(event.id.rpartition("-")[2])
    tell("begun", event.id, event.entry, event.deliveries)
    if _POISON and number % _POISON == 2 * _POISON // 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if _POISON and number % _POISON == _POISON // 3:
        tell("failed", event.id)
        raise ValueError("this event cannot be handled")
    is_slow = _SLOW and number % _SLOW == _SLOW // 2
    await asyncio.sleep(float(os.environ["SOAK_SLOW_SECONDS" if is_slow else "SOAK_SECONDS"]))
    tell("done", event.id)


async def main() -> None:
    """Consume until SIGTERM."""
    async with consume(
        os.environ["REDIS_URL"],
        topic=os.environ["TOPIC"],
        group=os.environ["GROUP"],
        member=os.environ["MEMBER"],
        claim_after=float(os.environ["CLAIM_AFTER"]),
        max_deliveries=int(os.environ["MAX_DELIVERIES"]),
        on_lost=tell_lost,
    ) as events:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, events.stop)
        await events.run(handle, concurrency=_AT_A_TIME, stop_timeout=float(os.environ["SOAK_SLOW_SECONDS"]) + 5)


if __name__ == "__main__":
    asyncio.run(main())
