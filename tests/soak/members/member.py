"""A member in Python, on `relay.consumer`: tells what it begins and ends on its output."""

from __future__ import annotations

import asyncio
import os
import signal

from relay.consumer import Record, consume

_POISON = int(os.environ["SOAK_POISON_EVERY"])
_SLOW = int(os.environ["SOAK_SLOW_EVERY"])


def tell(*words: object) -> None:
    """Write a line that is whole, and there at once, whatever happens next."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def handle(event: Record) -> None:
    """Treat an event by its number (`tests.soak.options`)."""
    number = int(event.id.rpartition("-")[2])
    tell("begun", event.id, event.entry, getattr(event, "deliveries", 1))
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
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with consume(
        os.environ["REDIS_URL"],
        topic=os.environ["TOPIC"],
        group=os.environ["GROUP"],
        member=os.environ["MEMBER"],
        claim_after=float(os.environ["CLAIM_AFTER"]),
    ) as events:
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            following = asyncio.ensure_future(anext(events))
            await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                await asyncio.wait({following})
                break
            await handle(following.result())


if __name__ == "__main__":
    asyncio.run(main())
