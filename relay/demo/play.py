"""The demo: conversations over three lines, a live display, and a final check of the ledger from both ends.

The sandbox sends the events of simulated conversations until Ctrl-C, or a fixed number of them with `--once`. Then the
demo waits until all retries have ended, and compares the counts of the sandbox (sent), of the relay (accepted, routed,
delivered) and of the teams (handled). The exit code is 1 if they differ.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from relay.demo.stage import LINES, Stage, set_stage
from relay.process.event_loop import stop_on_signals
from relay.process.logs import configure_logging
from relay.sandbox.events.conversations import conversations
from relay.store.ledger.ledger import LaneLedger, Ledger, Totals

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVENTS_ONCE = 400
_RATE_ONCE = 100.0  # events a second
_RATE = 10.0
_SETTLE_TIMEOUT = 40.0  # seconds for the retries at the end
_REFRESH_INTERVAL = 0.25  # seconds
_MAX_RECENT = 8

console = Console()


@dataclass(slots=True)
class _Progress:
    """The last events that were sent."""

    recent: list[tuple[str, str]] = field(default_factory=list)
    """Event types and lines, oldest first."""


async def run_demo(*, once: bool, seed: int) -> int:
    """Run the demo; return the exit code, 0 if the ledger balances at the end."""
    stop = stop_on_signals()
    configure_logging("error", "console")
    async with set_stage(seed, _say_step) as stage:
        progress = _Progress()
        play = asyncio.create_task(_play(stage, progress, seed, _EVENTS_ONCE if once else None, stop))
        if console.is_terminal:
            await _show(stage, progress, play)
        else:
            console.print(f"simulating conversations on {len(LINES)} lines ...")
        await play
        with console.status("waiting until all retries have ended ...", spinner="line"):
            await _settle(stage)
        return await _balance(stage)


def _say_step(step: str) -> None:
    console.print(f"[green]ok[/] {step}", highlight=False, soft_wrap=True)


async def _play(stage: Stage, progress: _Progress, seed: int, limit: int | None, stop: asyncio.Event) -> None:
    pause = 1 / (_RATE_ONCE if limit else _RATE)
    for step in itertools.islice(conversations(LINES, seed), limit):
        stage.sandbox.play(step)
        progress.recent = [*progress.recent[1 - _MAX_RECENT :], (step.event_type, step.scenario.line)]
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        if stop.is_set():
            return


async def _show(stage: Stage, progress: _Progress, play: asyncio.Task[None]) -> None:
    ledger = Ledger(stage.redis)
    with Live(console=console, refresh_per_second=round(1 / _REFRESH_INTERVAL)) as live:
        while not play.done():
            live.update(_display(stage, progress, await ledger.totals(), await ledger.lanes()))
            await asyncio.wait({play}, timeout=_REFRESH_INTERVAL)


def _display(stage: Stage, progress: _Progress, totals: Totals, lanes: list[LaneLedger]) -> RenderableType:
    flow = Table.grid(padding=(0, 2))
    flow.add_row("Linq sent", f"[bold]{stage.sandbox.deliveries.events}[/]")
    flow.add_row("accepted", f"[bold]{totals.accepted}[/] (duplicates {totals.duplicate})")
    flow.add_row("routed", f"[bold]{totals.routed}[/] (unmatched {totals.unmatched}, inbox {totals.inbox})")
    for lane in lanes:
        state = f"waiting {lane.waiting}, retrying {lane.retrying}, dead {lane.dead}"
        flow.add_row(f"{lane.subscription} (push)", f"[bold]{lane.delivered}[/] of {lane.routed}: {state}")
    flow.add_row("", f"{stage.helpdesk.failed} responses 500 on purpose, each retried")
    flow.add_row("archive (pull)", f"[bold]{stage.archive.handled}[/] read from the stream")
    recent = Table.grid(padding=(0, 2))
    for event_type, line in progress.recent:
        recent.add_row(line, event_type)
    return Group(
        Panel(flow, title="events", title_align="left"),
        Panel(recent, title="latest events", title_align="left"),
        Text(f"Ctrl-C ends the demo. Log: {stage.log}", overflow="fold"),
        Text(f"The page (this link signs in once, for five minutes): {stage.page}", overflow="fold"),
    )


async def _settle(stage: Stage) -> None:
    """Wait until every event is delivered or dead-lettered, or until the timeout."""
    ledger = Ledger(stage.redis)
    with suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_TIMEOUT):
            await stage.sandbox.deliveries.settled()
            while not await _is_settled(stage, ledger):  # noqa: ASYNC110  streams in another process have no event
                await asyncio.sleep(_REFRESH_INTERVAL)


async def _is_settled(stage: Stage, ledger: Ledger) -> bool:
    totals = await ledger.totals()
    lanes = await ledger.lanes()
    unsettled = sum(lane.waiting + lane.retrying for lane in lanes)
    return not totals.inbox and not unsettled and len(stage.archive.ids) >= totals.routed


async def _balance(stage: Stage) -> int:
    """Print the ledger beside the counts of sandbox and teams; return the exit code, 0 if all agree."""
    ledger = Ledger(stage.redis)
    totals, lanes = await ledger.totals(), await ledger.lanes()
    helpdesk = next((lane for lane in lanes if lane.subscription == "helpdesk"), None)
    routed, delivered = (helpdesk.routed, helpdesk.delivered) if helpdesk else (0, 0)
    dead = helpdesk.dead if helpdesk else 0
    checks = [
        ("every event that Linq sent was accepted once", stage.sandbox.deliveries.events, totals.accepted),
        ("every accepted event was routed or counted unmatched", totals.accepted, totals.routed + totals.unmatched),
        ("archive read every event of its topic once", totals.routed, stage.archive.handled),
        ("helpdesk: routed = delivered + dead", routed, delivered + dead),
        ("helpdesk handled every delivered event", delivered, len(stage.helpdesk.ids)),
        ("wrong signatures seen by helpdesk", 0, stage.helpdesk.forged),
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("expected", justify="right")
    table.add_column("actual", justify="right")
    table.add_column("")
    for check, expected, actual in checks:
        table.add_row(check, str(expected), str(actual), "[green]ok[/]" if expected == actual else "[red]WRONG[/]")
    console.print("[bold]The ledger[/]")
    console.print(table)
    console.print(f"helpdesk responded 500 on purpose {stage.helpdesk.failed} times; each delivery was retried.")
    balances = all(expected == actual for _, expected, actual in checks)
    console.print("[green]The ledger balances.[/]" if balances else "[red]The ledger does not balance.[/]")
    return 0 if balances else 1
