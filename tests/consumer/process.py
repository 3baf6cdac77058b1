"""A member in a process of its own.

python -m tests.consumer.process URL async|blocking PLAN

The plan is JSON: `die` (a command of Redis) and `when` (`before` or `after` it is sent) kill the process at that step;
`poison` kills it while it handles the event of that id, `raises` has the handler of that event raise; `count` ends it
after that many events; the rest are options of `consume`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from relay.consumer import consume, consume_sync
from relay.consumer.clients import asynchronous, blocking
from tests.consumer.stage import shown


class Plan:
    """What is to happen to this process."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.die, self.when = plan.pop("die", ""), plan.pop("when", "before")
        self.poison, self.raises, self.count = plan.pop("poison", ""), plan.pop("raises", ""), plan.pop("count", 0)
        self.concurrency = plan.pop("concurrency", 0)
        self.options = {"topic": "support", "group": "g", **plan}
        self.seen = 0

    def is_step(self, commands: Any) -> bool:
        return bool(self.die) and any(self.die.encode() in command[:2] for command in commands)

    def handle(self, event: Any) -> bool:
        """Handle an event; return True if it was the last."""
        print(shown(event), flush=True)  # noqa: T201  for the parent
        if event.id == self.poison:
            die()
        if event.id == self.raises:
            raise ZeroDivisionError
        self.seen += 1
        return bool(self.seen == self.count)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def prepare(plan: Plan) -> None:
    """Have the process die at its step."""
    send, send_blocking = asynchronous.Connected._send, blocking.Connected._send

    async def send_or_die(self: Any, commands: Any, *, is_atomic: bool) -> list[Any]:
        if plan.is_step(commands) and plan.when == "before":
            die()
        replies = await send(self, commands, is_atomic=is_atomic)
        if plan.is_step(commands):
            die()
        return replies

    def send_or_die_blocking(self: Any, commands: Any, *, is_atomic: bool) -> list[Any]:
        if plan.is_step(commands) and plan.when == "before":
            die()
        replies = send_blocking(self, commands, is_atomic=is_atomic)
        if plan.is_step(commands):
            die()
        return replies

    asynchronous.Connected._send = send_or_die  # type: ignore[method-assign]
    blocking.Connected._send = send_or_die_blocking  # type: ignore[method-assign]


async def read(url: str, plan: Plan) -> None:
    async with consume(url, **plan.options) as events:
        if plan.concurrency:

            async def handle(event: Any) -> None:
                await asyncio.sleep(0.01)
                if plan.handle(event):
                    events.stop()

            await events.run(handle, concurrency=plan.concurrency)
            return
        async for event in events:
            if plan.handle(event):
                break


def read_blocking(url: str, plan: Plan) -> None:
    with consume_sync(url, **plan.options) as events:
        for event in events:
            if plan.handle(event):
                break


if __name__ == "__main__":
    its_plan = Plan(json.loads(sys.argv[3]))
    prepare(its_plan)
    if sys.argv[2] == "async":
        asyncio.run(read(sys.argv[1], its_plan))
    else:
        read_blocking(sys.argv[1], its_plan)
