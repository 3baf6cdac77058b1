"""Playing the demo: conversations over three lines, a live picture, and in the end the ledger, seen from both ends."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from relay.demo.stage import LINES, Stage, set_stage
from relay.process.event_loop import stop_on_signals
from relay.process.logs import configure_logging
from relay.sandbox.events.conversations import conversations
from relay.store.lanes.ledger import LaneLedger, Ledger, Totals

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVENTS_ONCE = 400
_RATE_ONCE = 50.0  # events a second
_RATE = 10.0
_SETTLE_TIMEOUT = 40.0  # seconds for retries at the end
_REFRESH = 0.25
_RECENT = 8

console = Console()


@dataclass(slots=True)
class _Played:
    """What was played so far."""

    recent: list[tuple[str, str]] = field(default_factory=list)
    """The last event types and their lines."""


async def run_demo(*, once: bool, seed: int) -> int:
    """Plays; 0 if the ledger balances in the end."""
    stop = stop_on_signals()
    configure_logging("error", "console")
    async with set_stage(seed, lambda step: console.print(f"[green]✓[/] {step}")) as stage:
        played = _Played()
        play = asyncio.create_task(_play(stage, played, seed, _EVENTS_ONCE if once else None, stop))
        if console.is_terminal:
            await _show(stage, played, play)
        else:
            console.print(f"playing conversations over {len(LINES)} lines ...")
        await play
        with console.status("waiting for retries to end ..."):
            await _settle(stage)
        return await _balance(stage)


async def _play(stage: Stage, played: _Played, seed: int, limit: int | None, stop: asyncio.Event) -> None:
    pause = 1 / (_RATE_ONCE if limit else _RATE)
    for beat in itertools.islice(conversations(LINES, seed), limit):
        stage.sandbox.play(beat)
        played.recent = [*played.recent[1 - _RECENT :], (beat.event_type, beat.scene.line)]
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        if stop.is_set():
            return


async def _show(stage: Stage, played: _Played, play: asyncio.Task[None]) -> None:
    ledger = Ledger(stage.redis)
    with Live(console=console, refresh_per_second=round(1 / _REFRESH)) as live:
        while not play.done():
            live.update(_picture(stage, played, await ledger.totals(), await ledger.lanes()))
            await asyncio.wait({play}, timeout=_REFRESH)


def _picture(stage: Stage, played: _Played, totals: Totals, lanes: list[LaneLedger]) -> RenderableType:
    flow = Table.grid(padding=(0, 2))
    flow.add_row("Linq sent", f"[bold]{stage.sandbox.deliveries.events}[/]")
    flow.add_row("accepted", f"[bold]{totals.accepted}[/] (repeats {totals.duplicate})")
    flow.add_row("routed", f"[bold]{totals.routed}[/] (unmatched {totals.unmatched}, inbox {totals.inbox})")
    for lane in lanes:
        state = f"waiting {lane.waiting}, retrying {lane.retrying}, dead {lane.dead}"
        flow.add_row(f"{lane.subscription} (push)", f"[bold]{lane.delivered}[/] of {lane.routed}: {state}")
    flow.add_row("", f"it answered 500 on purpose {stage.helpdesk.refused} times")
    flow.add_row("archive (pull)", f"[bold]{stage.archive.handled}[/] read from the stream")
    recent = Table.grid(padding=(0, 2))
    for event_type, line in played.recent:
        recent.add_row(line, event_type)
    return Group(
        Panel(flow, title="the way of an event", title_align="left"),
        Panel(recent, title=f"on the lines (Ctrl-C ends; log: {stage.log})", title_align="left"),
    )


async def _settle(stage: Stage) -> None:
    """Until nothing is on its way any more, or patience ends."""
    ledger = Ledger(stage.redis)
    with suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_TIMEOUT):
            await stage.sandbox.deliveries.settled()
            while not await _is_settled(stage, ledger):  # noqa: ASYNC110  streams in another process have no event
                await asyncio.sleep(_REFRESH)


async def _is_settled(stage: Stage, ledger: Ledger) -> bool:
    totals = await ledger.totals()
    lanes = await ledger.lanes()
    waiting = sum(lane.waiting + lane.retrying for lane in lanes)
    return not totals.inbox and not waiting and len(stage.archive.ids) >= totals.routed


async def _balance(stage: Stage) -> int:
    """Prints the ledger and what both ends saw; 0 if it all agrees."""
    ledger = Ledger(stage.redis)
    totals, lanes = await ledger.totals(), await ledger.lanes()
    helpdesk = next((lane for lane in lanes if lane.subscription == "helpdesk"), None)
    routed, delivered = (helpdesk.routed, helpdesk.delivered) if helpdesk else (0, 0)
    dead = helpdesk.dead if helpdesk else 0
    checks = [
        ("every event that Linq sent was accepted, once", stage.sandbox.deliveries.events, totals.accepted),
        ("every accepted event was routed or counted as unmatched", totals.accepted, totals.routed + totals.unmatched),
        ("the archive read every event of its topic, once", totals.routed, stage.archive.handled),
        ("helpdesk: routed = delivered + dead", routed, delivered + dead),
        ("helpdesk handled every event that counts as delivered", delivered, len(stage.helpdesk.ids)),
        ("no signature failed to verify", 0, stage.helpdesk.forged),
    ]
    table = Table(title="The ledger", title_justify="left", title_style="bold")
    for column in ("what must hold", "should be", "is", ""):
        table.add_column(column, justify="right" if column in {"should be", "is"} else "left")
    for what, expected, found in checks:
        table.add_row(what, str(expected), str(found), "[green]✓[/]" if expected == found else "[red]✗[/]")
    console.print(table)
    console.print(f"helpdesk answered 500 on purpose {stage.helpdesk.refused} times; each was tried again.")
    balances = all(expected == found for _, expected, found in checks)
    console.print("[green]The ledger balances.[/]" if balances else "[red]The ledger does not balance.[/]")
    return 0 if balances else 1
