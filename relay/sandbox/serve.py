"""The sandbox as a process: serves HTTP until a signal, and simulates conversations if a rate is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.net.http_listener import listening
from relay.process.event_loop import stop_on_signals
from relay.process.tasks import end_task
from relay.sandbox.app import open_sandbox, sandbox_app
from relay.sandbox.events.conversations import conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.net.listen_address import Listen
    from relay.sandbox.app import Sandbox


async def serve_sandbox(  # noqa: PLR0913  an argument for each option of the command
    listen: Listen,
    lines: Sequence[str],
    api_key: str,
    on_ready: Callable[[int], None],
    *,
    allow_local: bool,
    speed: float,
    rate: float,
    seed: int,
    accounts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Run a sandbox until SIGTERM or SIGINT; call `on_ready` with the port once it listens."""
    stop = stop_on_signals()
    async with (
        open_sandbox(lines, speed=speed, seed=seed, accounts=accounts) as sandbox,
        listening(sandbox_app(sandbox, api_key, allow_local=allow_local), listen) as port,
    ):
        on_ready(port)
        play = asyncio.create_task(_play(sandbox, rate, seed)) if rate else None
        await stop.wait()
        await end_task(play)


async def _play(sandbox: Sandbox, rate: float, seed: int) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    for number, step in enumerate(conversations(sandbox.state.lines, seed), 1):
        sandbox.play(step)
        await asyncio.sleep(
            began + number / rate - clock()
        )  # an absolute schedule: late wake-ups do not lower the rate
