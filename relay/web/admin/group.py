"""The admin listener of a supervisor: shows every process of its group.

Each process has an admin listener of its own, on a free port of the loopback interface. The supervisor opens that
socket, passes it on to each run of the process, and asks it there. So a probe of the group sees each of its processes,
and `/ready` names those that are not ready, also one that is being restarted or hangs.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import structlog

from relay.metrics.process_metrics import ProcessMetrics
from relay.parts import open_store
from relay.process.event_loop import stop_on_signals
from relay.process.lifecycle import Lifecycle
from relay.process.supervisor import SHARED_FOLDER, STOP_TIMEOUT, Program, supervise
from relay.rules.current import Rules
from relay.rules.names import SubscriptionNames
from relay.store.driver.client import REQUEST_TIMEOUT, describe
from relay.web.admin.listener import PASSED_SOCKET, listening_for_operators
from relay.web.admin.report import OK, Identity, all_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.config.settings import Settings
    from relay.web.admin.report import Probe, Report

_TIMEOUT = 2.0  # seconds for a response; longer than a process waits for Redis
_BACKLOG = 64

log = structlog.get_logger()


@dataclass(slots=True)
class Member:
    """A process of the group, and the port on which it is asked."""

    program: Program
    port: int
    seen: int | None = None
    """The process id of the run that has responded."""

    @property
    def name(self) -> str:
        """The name of the process: `ingress 2`."""
        return self.program.name


@dataclass(slots=True)
class Group:
    """The processes of a supervisor."""

    identity: Identity
    lifecycle: Lifecycle
    client: aiohttp.ClientSession
    stack: AsyncExitStack
    metrics_directory: Path | None
    counts: ProcessMetrics
    """The counts of the supervisor, and of its processes in that directory."""
    probe: Probe | None = None
    """Checks of the supervisor itself."""
    members: list[Member] = field(default_factory=list)

    def add(
        self, name: str, arguments: Sequence[str], count: int, environment: Mapping[str, str] | None = None
    ) -> Sequence[Program]:
        """Return `count` programs that run as members of the group."""
        return [
            self._add(f"{name} {number}" if count > 1 else name, arguments, environment or {})
            for number in range(1, count + 1)
        ]

    def _add(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Program:
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG))
        variables = {**environment, PASSED_SOCKET: str(listener.fileno())}
        if self.metrics_directory is not None:
            variables[SHARED_FOLDER] = str(self.metrics_directory)
        program = Program(name, arguments, variables, descriptors=(listener.fileno(),))
        self.members.append(Member(program, listener.getsockname()[1]))
        return program

    async def live(self) -> Report:
        """Return a report whose `live` is False if a process that has responded before no longer does."""
        reports = await asyncio.gather(*(self._ask(member, "/live") for member in self.members))
        hung = [
            member.name
            for member, report in zip(self.members, reports, strict=True)
            if "error" in report and member.seen is not None and member.seen == member.program.status.pid
        ]
        return {"live": not hung, "hung": hung, **self.identity.report()}

    async def ready(self) -> Report:
        """Return a report whose `ready` is True if every process of the group is ready; names those that are not."""
        checks = dict(await self.probe.checks()) if self.probe else {}
        checks["process"] = self.lifecycle.detail
        reports = await asyncio.gather(*(self._ask(member, "/ready") for member in self.members))
        processes = [{"name": member.name, **report} for member, report in zip(self.members, reports, strict=True)]
        checks |= {process["name"]: _result(process) for process in processes}
        return {"ready": all_pass(checks), "checks": checks, **self.identity.report(), "processes": processes}

    async def metrics(self) -> bytes:
        """Return what the processes of the group have counted, together."""
        return await self.counts.exposition()

    async def _ask(self, member: Member, path: str) -> Report:
        """Return the report of a process; one with an `error` if it does not respond."""
        pid = member.program.status.pid
        if pid is None:
            return {"error": member.program.status.text}
        try:
            async with self.client.get(f"http://127.0.0.1:{member.port}{path}") as response:
                report: Report = json.loads(await response.read())
        except TimeoutError:
            silent = "no longer responds" if member.seen == pid else "has not responded yet"
            return {"error": f"{member.program.status.text}, {silent}"}
        except (aiohttp.ClientError, ValueError) as error:
            return {"error": f"{member.program.status.text}: {describe(error)}"}
        member.seen = pid
        return report


@asynccontextmanager
async def open_group(
    identity: Identity, lifecycle: Lifecycle, probe: Probe | None = None, timeout: float = _TIMEOUT
) -> AsyncIterator[Group]:
    """Open a group without processes, each of which has `timeout` seconds to respond; close its sockets at the end."""
    async with AsyncExitStack() as stack:
        directory = _metrics_directory(stack)
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout))
        client = await stack.enter_async_context(session)
        counts = await stack.enter_async_context(ProcessMetrics(identity.role, directory))
        yield Group(identity, lifecycle, client, stack, directory, counts, probe)


@asynccontextmanager
async def showing_current_subscriptions(counts: ProcessMetrics, rules: Rules) -> AsyncIterator[None]:
    """Leave out what the processes counted of subscriptions that the rules no longer have."""
    async with SubscriptionNames(rules) as names:
        counts.show_only("subscription", names.current)
        yield


async def supervise_role(settings: Settings, role: str, arguments: Sequence[str], count: int) -> int:
    """Run `count` processes of a role until SIGTERM or SIGINT; return the exit code."""
    stop = stop_on_signals()
    lifecycle = Lifecycle()
    async with open_group(Identity(role, settings), lifecycle) as group, open_store(settings, REQUEST_TIMEOUT) as redis:
        programs = group.add(role, arguments, count)
        async with (
            showing_current_subscriptions(group.counts, Rules(settings, redis)),
            listening_for_operators(group, settings, role),
            lifecycle.stopping_with(stop),
        ):
            return await supervise(programs, stop, STOP_TIMEOUT + settings.relay_shutdown_delay)


def _metrics_directory(stack: AsyncExitStack) -> Path | None:
    """Return the directory that the operator chose, or a temporary one; None if there is no place for one."""
    if chosen := os.environ.get(SHARED_FOLDER):
        return Path(chosen)
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-metrics-")))
    except OSError as error:
        note = f"the group has no metrics: mount a writable /tmp, or set {SHARED_FOLDER}"
        log.warning("metrics.no_directory", reason=describe(error), note=note)
        return None


def _result(process: Report) -> str:
    """Return "ok", or the checks of a process that fail."""
    if "error" in process:
        return str(process["error"])
    failing = [f"{name}: {result}" for name, result in process["checks"].items() if result != OK]
    return "; ".join(failing) or OK
