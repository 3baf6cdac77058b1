"""`relay doctor`: looks at everything the relay stands on, and says what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from relay.cli.output import JsonOption, console, print_json

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.doctor.finding import Finding

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def doctor(*, json: JsonOption = False) -> None:
    """Look at Redis, Linq and every destination, and say what to do; exit code 1 if there is a problem."""
    from relay.doctor.finding import State
    from relay.parts import load_settings
    from relay.process.event_loop import run

    findings = run(_examine(load_settings()))
    problems = sum(one.state is State.PROBLEM for one in findings)
    if json:
        print_json({"problems": problems, "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            mark, colour = _MARKS[one.state]
            console.print(Text(f"{mark} {one.area}: {one.what}", style=colour), soft_wrap=True)
            if one.remedy:
                console.print(Text(f"    {one.remedy}"), soft_wrap=True)
        console.print(f"{problems} problems." if problems else "No problems.")
    if problems:
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    from relay.config.file import load_config
    from relay.doctor.examine import examine
    from relay.parts import open_store
    from relay.store.driver.client import REQUEST_TIMEOUT

    loaded = load_config(settings.relay_config)
    async with open_store(settings, REQUEST_TIMEOUT) as redis:
        return await examine(settings, redis, loaded)
