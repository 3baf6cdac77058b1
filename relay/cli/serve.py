"""`relay up`, `relay ingress`, `relay worker`, `relay admin`: the service itself.

A single ingress or worker starts without this module (`relay.cli.roles`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.interrupts import importing
from relay.config.load import load_settings
from relay.config.settings import Settings, environment_with_secrets
from relay.core.lazy_modules import LazyModule
from relay.process.event_loop import run
from relay.process.logs import configure_logging
from relay.process.resources.precedence import give_way
from relay.process.subprocesses import python
from relay.process.telemetry.opening import error_reports

if TYPE_CHECKING:
    import relay.admin.role as admin_role
    from relay.cli import up as group_of_all
    from relay.web import server
    from relay.web.admin import group
else:  # half a second each, which the help and the other roles do without
    admin_role = LazyModule("relay.admin.role")
    group_of_all = LazyModule("relay.cli.up")
    server = LazyModule("relay.web.server")
    group = LazyModule("relay.web.admin.group")

app = commands()

Processes = Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Number of processes; they share the work.")]


@command(app, examples=("relay ingress", "relay ingress --processes 2"))
def ingress(
    *,
    processes: Processes = 1,
    share_port: Annotated[bool, typer.Option("--share-port", hidden=True)] = False,
) -> None:
    """Receive Linq's webhooks; needs REDIS_URL and RELAY_SECRET_KEY."""
    if processes > 1:
        settings = load_settings("relay_secret_key")
        raise typer.Exit(_supervise(settings, "ingress", processes, "relay", "ingress", "--share-port"))
    with importing():
        run_role = server.run_role
    raise typer.Exit(run_role(share_port=share_port))


@command(app, examples=("relay worker", "relay worker --processes 2"))
def worker(*, processes: Processes = 1) -> None:
    """Route events and deliver them; needs REDIS_URL and relay.toml."""
    if processes > 1:
        raise typer.Exit(_supervise(load_settings(), "worker", processes, "workers"))
    sys.stdout.flush()
    os.execv(sys.executable, python("workers"))  # noqa: S606  the worker is its own program; this process becomes it


@command(app, examples=("relay admin", "RELAY_ADMIN_LISTEN=0.0.0.0:8081 relay admin"))
def admin() -> None:
    """Serve the page, the API, health checks and metrics, apart from ingress and worker.

    They are on the admin listener; without REDIS_URL, an embedded Redis that `relay up` started is used.
    """
    settings = load_settings()
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    give_way(settings.relay_worker_nice)
    with importing():
        serve_admin = admin_role.serve_admin
    with error_reports(environment_with_secrets(), "admin"):
        run(serve_admin(settings))


@command(app, examples=("relay up", "relay up --ingress-processes 2 --worker-processes 2"))
def up(
    *,
    ingress_processes: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Ingress processes, on one port.")
    ] = 1,
    worker_processes: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Worker processes.")] = 1,
) -> None:
    """Run everything on this machine, as one supervised group.

    Without REDIS_URL an embedded Redis is started; with LINQ_API_V3_API_KEY the lines are registered at Linq.
    """
    with importing():
        run_group = group_of_all.run_group
    raise typer.Exit(run(run_group(ingress_processes, worker_processes)))


def _supervise(settings: Settings, role: str, count: int, module: str, *arguments: str) -> int:
    """Run `count` processes of a module, as a group, until a signal stops them."""
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    with importing():
        supervise_role = group.supervise_role
    with error_reports(environment_with_secrets(), role):
        return run(supervise_role(settings, role, python(module, *arguments), count))
