"""`relay drain`: no new work for the workers, or for the processes of a host, until it is ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, operator, record
from relay.cli.output import JsonOption, counted, print_json, print_table, say
from relay.config.load import load_settings
from relay.core.durations import format_duration, parse_duration
from relay.core.errors import RelayError
from relay.parts import open_store
from relay.process.event_loop import run
from relay.process.lifecycle import Phase
from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.fleet.drain_orders import EVERY_HOST, DrainOrder, drain_orders, end_drain, order_drain
from relay.store.fleet.processes import ProcessReport, processes
from relay.store.ledger.whole import of_each

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

app = commands()

_POLL = 0.2  # seconds
_SILENT = 5.0  # seconds without a report; each comes a second after the last
_DRAINED_ROLES = ("ingress", "worker")
_PHASES = {Phase.RUNNING.value: "running"}

HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="NAME", help="Only the processes of this host, its ingresses too."),
]


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Left:
    """The work that is still in flight."""

    busy: tuple[str, ...]
    """Processes with work in hand, or that have not obeyed yet, each with it."""
    drained: tuple[str, ...]
    waiting: int
    """Accepted events that are not routed yet."""

    @property
    def text(self) -> str:
        """The processes with work in hand, in a line."""
        return "; ".join(self.busy)


@command(
    app,
    examples=(
        "relay drain --wait --why 'Redis moves'",
        'relay drain --host "$(hostname)" --wait --timeout 30s',
        "relay drain --status",
        "relay drain --end",
    ),
    view=(),
)
def drain(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until nothing is in flight.")] = False,
    timeout: Annotated[
        str,
        typer.Option(
            "--timeout", metavar="DURATION", help="Wait no longer than this; then print what is left, exit code 1."
        ),
    ] = "60s",
    length: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="Take work again by itself after this time.")
    ] = "1h",
    host: HostOption = None,
    end: Annotated[bool, typer.Option("--end", help="Take work again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only show what is drained, and what is in flight.")] = False,
    why: WhyOption = "",
    json: JsonOption = False,
) -> None:
    """Take no new work: workers start no deliveries, and those in flight end.

    Without --host, every worker is drained. Ingresses continue: what they accept waits in the inbox. With --host,
    only the processes of that host are, its ingresses too: an ingress accepts what still arrives, and its /ready is 503
    so that the load balancer sends new webhooks to others.
    """
    if end and (wait or status):
        raise typer.BadParameter("it cannot be combined with --wait or --status", param_hint="--end")
    chosen = host or EVERY_HOST
    if end:
        run(_end(chosen, why, as_json=json))
    elif status:
        run(_status(as_json=json))
    elif not run(_drain(chosen, _duration(length), _duration(timeout) if wait else None, why, as_json=json)):
        raise typer.Exit(1)


async def _drain(host: str, length: float, timeout: float | None, why: str, *, as_json: bool) -> bool:
    """Give the order, and wait until nothing is in flight if there is a timeout; return False if that was too short."""
    async with open_store(load_settings()) as redis:
        now_ms = round(time.time() * 1000)
        if host != EVERY_HOST:
            await _check_host(redis, host, now_ms)
        order = DrainOrder(host, operator(), why, now_ms, now_ms + round(length * 1000))
        await record(redis, "drain", _named(host), why=why)
        await order_drain(redis, order)
        if not as_json:
            who = "No worker takes" if host == EVERY_HOST else f"No worker or ingress of {host} takes"
            say(f"{who} new work, for {format_duration(length)} at most. To end it: {order.end}")
        left = None if timeout is None else await _wait(redis, host, timeout, is_quiet=as_json)
    if left is None:
        if as_json:
            print_json({"order": asdict(order)})
        return True
    if as_json:
        print_json({"order": asdict(order), "drained": not left.busy, **asdict(left)})
    elif left.busy:
        say(f"Not drained after {format_duration(timeout or 0)}: {left.text}. The order stays in force.", fg="red")
    else:
        who = ", ".join(left.drained) or "no worker runs"
        say(f"Drained, nothing is in flight: {who}. {counted(left.waiting, 'event')} in the inbox.", fg="green")
    return not left.busy


async def _check_host(redis: Redis, host: str, now_ms: float) -> None:
    """Refuse the name of a host from which no process reports: a misspelt one would drain nothing."""
    hosts = sorted({process.host for process in await processes(redis, now_ms)})
    if host not in hosts:
        raise RelayError(f'no process of the relay runs on "{host}" (known: {", ".join(hosts) or "none"})')


async def _wait(redis: Redis, host: str, timeout: float, *, is_quiet: bool) -> _Left:
    """Wait until nothing is left, or the timeout has passed; return what is left. Print it whenever it changes."""
    deadline = time.monotonic() + timeout
    said = ""
    while True:
        left = await _left(redis, host)
        if not left.busy or time.monotonic() >= deadline:
            return left
        if left.text != said and not is_quiet:
            said = left.text
            say(f"  waiting for {said}", dim=True)
        await asyncio.sleep(_POLL)


async def _left(redis: Redis, host: str) -> _Left:
    """Return the work in flight. The jobs of all hosts are known by their leases, even if their worker is silent."""
    concerned = [
        process
        for process in await processes(redis, time.time() * 1000)
        if (process.role == "worker" if host == EVERY_HOST else process.host == host and process.role in _DRAINED_ROLES)
    ]
    busy = [f"{process.name}: {_state(process)}" for process in concerned if not _is_drained(process)]
    if host == EVERY_HOST and not busy:
        busy += [f"the lease {job}" for job in await _leased(redis)]
    drained = tuple(process.name for process in concerned if _is_drained(process))
    return _Left(tuple(busy), drained, sum(await of_each(redis, lambda shard: ask(shard.xlen(shard.key.inbox)))))


async def _leased(redis: Redis) -> list[str]:
    """Return the drain jobs that a worker has the lease of, on any shard."""
    return [job for jobs in await of_each(redis, _leased_on) for job in jobs]


async def _leased_on(redis: Redis) -> list[str]:
    jobs = [wakeups.route(redis.key).job_id, wakeups.replay(redis.key).job_id]
    jobs += [wakeups.deliver(redis.key, partition).job_id for partition in range(wakeups.PARTITIONS)]
    async with redis.pipeline(transaction=False) as pipe:
        for job in jobs:
            pipe.exists(redis.key.lease(job))
        return [job for job, is_leased in zip(jobs, await pipe.execute(), strict=True) if is_leased]


def _is_drained(process: ProcessReport) -> bool:
    """Return True if it has nothing in hand and takes nothing."""
    return process.phase == Phase.DRAINING and not process.work


def _state(process: ProcessReport) -> str:
    silent = time.time() - process.at_ms / 1000
    if silent > _SILENT:
        return f"silent for {silent:.0f} s; it hangs, or was killed"
    return ", ".join(process.work) or "has not obeyed yet"


async def _end(host: str, why: str, *, as_json: bool) -> None:
    async with open_store(load_settings()) as redis:
        await record(redis, "drain --end", _named(host), why=why)
        was_drained = await end_drain(redis, host)
        others = [order for order in await drain_orders(redis, time.time() * 1000) if order.host != host]
    if as_json:
        print_json({"ended": was_drained, "orders": [asdict(order) for order in others]})
        return
    say(f"Ended: {_named(host)} takes work again." if was_drained else f"There was no order to drain {_named(host)}.")
    for order in others:
        say(f"Still drained: {_named(order.host)}, {order.text}")


async def _status(*, as_json: bool) -> None:
    async with open_store(load_settings()) as redis:
        now_ms = time.time() * 1000
        orders, running = await drain_orders(redis, now_ms), await processes(redis, now_ms)
    if as_json:
        print_json({"orders": [asdict(order) for order in orders], "processes": [asdict(each) for each in running]})
        return
    for order in orders:
        say(f"Drained: {_named(order.host)}, {order.text}")
    if not orders:
        say("Nothing is drained.")
    columns = ("role", "host", "pid", "phase", "version", "in hand")
    rows = [
        (each.role, each.host, each.pid, _PHASES.get(each.phase, each.phase), each.version, ", ".join(each.work))
        for each in running
    ]
    print_table("Processes", columns, rows)


def _named(host: str) -> str:
    return "every worker" if host == EVERY_HOST else host
