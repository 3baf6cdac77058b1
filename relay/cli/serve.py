"""`relay up`, `relay ingress`, `relay worker`: the service itself."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

Processes = Annotated[int, typer.Option(min=1, help="How many of them, on one port or queue.")]


def ingress(
    *,
    processes: Processes = 1,
    share_port: Annotated[bool, typer.Option("--share-port", hidden=True)] = False,
) -> None:
    """Receive Linq's webhooks (needs REDIS_URL, RELAY_SECRET_KEY)."""
    from relay.parts import load_settings
    from relay.process.event_loop import run
    from relay.process.logs import configure_logging

    settings = load_settings("relay_secret_key")
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    if processes > 1:
        raise typer.Exit(_supervise([("ingress", "relay", "ingress", "--share-port")] * processes))
    from relay.web.server import serve_ingress

    run(serve_ingress(settings, share_port=share_port))


def worker(*, processes: Processes = 1) -> None:
    """Route and deliver (needs REDIS_URL and relay.toml)."""
    from relay.parts import load_settings
    from relay.process.logs import configure_logging
    from relay.process.subprocesses import python

    settings = load_settings()
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    if processes > 1:
        raise typer.Exit(_supervise([("worker", "workers")] * processes))
    sys.stdout.flush()
    os.execv(sys.executable, python("workers"))  # noqa: S606  the worker is its own program; this process becomes it


def up(
    *,
    ingress_processes: Annotated[int, typer.Option(min=1, help="Ingress processes, on one port.")] = 1,
    worker_processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
) -> None:
    """Run it all: an embedded Redis if there is no REDIS_URL, bootstrap if there is a Linq key, ingress and worker."""
    from relay.cli.up import run_group
    from relay.process.event_loop import run

    raise typer.Exit(run(run_group(ingress_processes, worker_processes)))


def _supervise(programs: list[tuple[str, ...]]) -> int:
    """Runs (name, module, arguments ...) each as a process, until we are stopped."""
    from relay.process.event_loop import run, stop_on_signals
    from relay.process.subprocesses import python
    from relay.process.supervisor import Program, supervise

    async def group() -> int:
        return await supervise(
            [Program(name, python(module, *rest)) for name, module, *rest in programs], stop_on_signals()
        )

    return run(group())
