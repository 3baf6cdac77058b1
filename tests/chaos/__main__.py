"""`python -m tests.chaos`: kill everything under load, again and again, and check that every guarantee was kept."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from relay.cli.help import RelayCommand
from relay.cli.output import print_json
from tests.chaos.faults.catalog import FAULTS
from tests.chaos.faults.kind import Servers
from tests.chaos.report import as_json, show
from tests.chaos.run import RunOptions, run_chaos
from tests.chaos.verdict import judge
from tests.support import own_address

if TYPE_CHECKING:
    from tests.chaos.records import Records

_SHARDS = 4  # of a cluster

errors = Console(stderr=True)


def chaos(
    *,
    events: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Number of events to send.")] = 30_000,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Random seed; the same one makes the same faults.")
    ] = None,
    faults: Annotated[
        str | None, typer.Option(metavar="KINDS", help=f"Kinds of faults, separated by commas: {', '.join(FAULTS)}.")
    ] = None,
    some: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="Choose so many kinds, by the seed; without it, cause every kind."),
    ] = None,
    sentinels: Annotated[
        bool,
        typer.Option("--sentinels", help="Use a primary, a replica and three Sentinels instead of a single Redis."),
    ] = False,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Use a Redis Cluster of three primaries, each with a replica, and four shards."),
    ] = False,
    shards: Annotated[
        int | None, typer.Option(min=1, max=16, metavar="NUMBER", help="Number of shards; without --cluster 1.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, metavar="NUMBER", help="Events a second at most; 0 sends as many as are accepted.")
    ] = 400,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, metavar="NUMBER", help="Spread the events over this many minutes.")
    ] = None,
    longest: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Maximum length of a fault; without it, that of its kind."),
    ] = None,
    ingresses: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Ingress processes.")] = 2,
    workers: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Worker processes.")] = 2,
    fsync: Annotated[
        Literal["always", "everysec"],
        typer.Option(
            metavar="POLICY", help="appendfsync of Redis, always or everysec; with everysec a kill may lose events."
        ),
    ] = "always",
    redis_server: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            envvar="CHAOS_REDIS_SERVER",
            metavar="PATH",
            help="Program of another Redis or Valkey than the embedded one.",
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="RELAY_LOG_LEVEL of the relay.")] = "warning",
    worker_nice: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=19, help="RELAY_WORKER_NICE; 0 where other programs keep the CPU busy."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write everything into this directory and keep it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Send events, cause faults, and check that nothing was lost, repeated in a topic, or left unfinished.

    Exit code 1 if a guarantee was not kept; the directory with the logs is kept then.
    """
    servers = _servers(sentinels=sentinels, cluster=cluster)
    kinds = _kinds(faults, servers)
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    if some is not None and some < len(kinds):
        kinds = random.Random(seed).sample(kinds, some)
    directory = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="relay-chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    options = RunOptions(
        events=events,
        seed=seed,
        rate=events / (60 * minutes) if minutes else rate,
        kinds={kind: FAULTS[kind].span if longest is None else FAULTS[kind].span.at_most(longest) for kind in kinds},
        directory=directory,
        ingresses=ingresses,
        workers=workers,
        fsync=fsync,
        servers=servers,
        shards=shards or (_SHARDS if cluster else 1),
        redis_server=str(redis_server.resolve()) if redis_server else None,
        log_level=log_level,
        worker_nice=worker_nice,
    )
    errors.print(
        f"seed {seed}, {events} events at {options.pace or rate:.0f} a second, in {directory}", highlight=False
    )
    is_kept = False
    try:
        records = asyncio.run(_run(options))
        is_kept = all(promise.is_kept for promise in judge(records))
        if json:
            print_json(as_json(seed, records))
        else:
            show(seed, records)
    except asyncio.CancelledError:
        errors.print("interrupted")
    finally:
        if is_kept and not keep:
            shutil.rmtree(directory)
        else:
            errors.print(f"logs and records are in {directory}", highlight=False)
    if not is_kept:
        raise typer.Exit(1)


def _servers(*, sentinels: bool, cluster: bool) -> Servers:
    if sentinels and cluster:
        raise typer.BadParameter("a cluster has no Sentinels; name one of both", param_hint="--cluster")
    if sentinels:
        return Servers.SENTINELS
    return Servers.CLUSTER if cluster else Servers.SINGLE


def _kinds(faults: str | None, servers: Servers) -> list[str]:
    """Return the kinds of faults to cause: those that are named, or all that are possible here."""
    impossible = {
        kind: " or ".join(each.value for each in Servers if each in fault.servers)
        for kind, fault in FAULTS.items()
        if servers not in fault.servers
    }
    if own_address() is None:
        reason = "an address of this machine other than loopback"
        impossible |= {kind: reason for kind, fault in FAULTS.items() if fault.needs_address}
    if faults is None:
        return [kind for kind in FAULTS if kind not in impossible]
    kinds = [kind.strip() for kind in faults.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in FAULTS:
            raise typer.BadParameter(f"unknown kind {kind}; the kinds are {', '.join(FAULTS)}", param_hint="--faults")
        if kind in impossible:
            raise typer.BadParameter(f"{kind} needs {impossible[kind]}", param_hint="--faults")
    if not kinds:
        raise typer.BadParameter("name at least one kind", param_hint="--faults")
    return kinds


async def _run(options: RunOptions) -> Records:
    """Run it; Ctrl-C and SIGTERM interrupt it, and end every process."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await run_chaos(options, lambda text: errors.print(text, highlight=False))


if __name__ == "__main__":
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(cls=RelayCommand, context_settings={"help_option_names": ["-h", "--help"]})(chaos)
    app()
