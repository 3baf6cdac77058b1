"""`relay doctor`: everything that the relay depends on, examined."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from relay.cli.command import command, commands
from relay.cli.output import JsonOption, counted, print_json, say
from relay.config.file import load_config
from relay.config.load import load_settings
from relay.doctor.examine import examine
from relay.doctor.finding import Finding, State
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store.driver.client import REQUEST_TIMEOUT

if TYPE_CHECKING:
    from relay.config.settings import Settings

app = commands()

_MARKS = {
    State.OK: ("✓", "green"),
    State.WARNING: ("!", "yellow"),
    State.PROBLEM: ("✗", "red"),
    State.NOT_CHECKED: ("?", "yellow"),
}


@command(app, examples=("relay doctor", "relay doctor --json | jq .problems"))
def doctor(*, json: JsonOption = False) -> None:
    """Examine Redis, Linq and every destination, and say what to do; exit code 1 if there is a problem."""
    findings = run(_examine(load_settings()))
    problems = sum(finding.state is State.PROBLEM for finding in findings)
    unchecked = sum(finding.state is State.NOT_CHECKED for finding in findings)
    if json:
        print_json(
            {"problems": problems, "not_checked": unchecked, "findings": [asdict(finding) for finding in findings]}
        )
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.state]
            say(f"{mark} {finding.area}: {finding.what}", fg=colour)
            if finding.remedy:
                say(f"    {finding.remedy}")
        found = counted(problems, "problem") if problems else "No problems"
        say(f"{found} found; {counted(unchecked, 'check')} could not be made." if unchecked else f"{found} found.")
    if problems:
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    loaded = load_config(settings.relay_config)
    async with open_store(settings, REQUEST_TIMEOUT) as redis:
        return await examine(settings, redis, loaded)
