"""`python -m tests.soak`: groups in three languages whose members are killed all the time, and what holds then."""

from __future__ import annotations

import asyncio
import pickle
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from relay.cli.help import RelayCommand
from relay.cli.output import print_json
from tests.soak.options import Options
from tests.soak.programs import PROGRAMS
from tests.soak.report import as_json, show
from tests.soak.run import run_soak
from tests.soak.verdict import judge

if TYPE_CHECKING:
    from tests.soak.records import Records

errors = Console(stderr=True)


def soak(
    *,
    events: Annotated[int, typer.Option(min=10, metavar="NUMBER", help="Number of events.")] = 200_000,
    seed: Annotated[int | None, typer.Option(metavar="NUMBER", help="Random seed; it is printed at the start.")] = None,
    rate: Annotated[float, typer.Option(min=1, metavar="NUMBER", help="Events a second.")] = 300,
    languages: Annotated[
        str | None, typer.Option(metavar="NAMES", help=f"Groups, separated by commas: {', '.join(PROGRAMS)}.")
    ] = None,
    members: Annotated[int, typer.Option(min=2, metavar="NUMBER", help="Members of each group.")] = 4,
    claim_after: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Time until a killed member's events are taken over.")
    ] = 10.0,
    poison_every: Annotated[
        int,
        typer.Option(min=0, metavar="NUMBER", help="Of so many events one always fails, and one kills its member."),
    ] = 4000,
    slow_every: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="Of so many events one takes longer than claim_after.")
    ] = 5000,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write everything into this directory and keep it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Kill and restart the members of consumer groups in several languages, and check what their table promises.

    Exit code 1 if a promise was not kept; the directory with the logs is kept then.
    """
    directory = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="relay-soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise typer.BadParameter(f"{directory} is not empty; name a new directory", param_hint="--keep")
    options = Options(
        events=events,
        seed=random.SystemRandom().getrandbits(32) if seed is None else seed,
        rate=rate,
        directory=directory,
        languages=_languages(languages),
        members=members,
        claim_after=claim_after,
        poison_every=poison_every,
        slow_every=slow_every,
    )
    errors.print(f"seed {options.seed}, {events} events at {rate:.0f} a second, in {directory}", highlight=False)
    is_kept = False
    try:
        records = asyncio.run(_run(options))
        (directory / "records.pickle").write_bytes(pickle.dumps(records))  # to look at what was broken
        is_kept = all(promise.is_kept for promise in judge(records))
        if json:
            print_json(as_json(options.seed, records))
        else:
            show(options.seed, records)
    except asyncio.CancelledError:
        errors.print("interrupted")
    finally:
        if is_kept and not keep:
            shutil.rmtree(directory)
        else:
            errors.print(f"logs are in {directory}", highlight=False)
    if not is_kept:
        raise typer.Exit(1)


def _languages(text: str | None) -> tuple[str, ...]:
    """Return the languages that are named, or all; an error if a tool of one is missing."""
    names = tuple(PROGRAMS) if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:  # before the tools, which a machine need not have
        if name not in PROGRAMS:
            raise typer.BadParameter(f"unknown {name}; the groups are {', '.join(PROGRAMS)}", param_hint="--languages")
    for name in names:
        if missing := [tool for tool in PROGRAMS[name].tools if not shutil.which(tool)]:
            raise typer.BadParameter(f"{name} needs {', '.join(missing)} on the PATH", param_hint="--languages")
    if not names:
        raise typer.BadParameter("name at least one group", param_hint="--languages")
    return names


async def _run(options: Options) -> Records:
    """Run it; Ctrl-C and SIGTERM interrupt it, and end every process."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await run_soak(options, lambda text: errors.print(text, highlight=False))


if __name__ == "__main__":
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(cls=RelayCommand, context_settings={"help_option_names": ["-h", "--help"]})(soak)
    app()
