"""An upgrade and its rollback under load: processes of this revision and the one before it share a Redis.

Every pair works together for a while: an old ingress with a new worker, a new ingress with an old worker, and two of
each role; a new worker takes over from an old one, and an old one from a new one. Nothing may be lost, and the ledger,
read by both, must balance.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from relay.process.tasks import end_task
from relay.sandbox.app import Emission
from relay.store.ledger.ledger import Ledger
from tests.journeys.conftest import LINES
from tests.journeys.revisions import NoHistory, check_out, previous_revision
from tests.on_cluster import NOT_THERE, SharedCluster
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.journeys.conftest import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine

RATE = 60  # events a second


class Fleet:
    """The processes of both revisions, on one port and one Redis."""

    def __init__(self, service: Service, old: Path) -> None:
        self._service = service
        self._old = {"PYTHONPATH": str(old)}
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, role: str, revision: str) -> None:
        """Start an ingress or a worker, and wait until it works."""
        service, event = self._service, {"ingress": "ingress.listening", "worker": "worker.started"}[role]
        before = service.logged(event)
        new = service.environment
        service.environment = new | self._old if revision == "old" else new
        try:
            arguments = ("ingress", "--share-port") if role == "ingress" else ()
            module = "relay" if role == "ingress" else "workers"
            self._running[f"{revision} {role}"] = await service.start(*arguments, module=module)
        finally:
            service.environment = new
        await eventually(lambda: service.logged(event) == before + 1)

    async def stop(self, role: str, revision: str) -> None:
        """Stop it as a deployment does."""
        process = self._running.pop(f"{revision} {role}")
        process.terminate()
        assert await process.wait() == 0

    async def place(self) -> str:
        """Return the file from which a process of the old revision has its code."""
        program = "from importlib.util import find_spec as at; print(at('relay').origin, at('workers').origin)"
        environment = self._service.environment | self._old
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", program), env=environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.decode()

    async def ledger(self, revision: str) -> dict[str, object]:
        """Return the ledger as a revision reads it."""
        new = self._service.environment
        self._service.environment = new | self._old if revision == "old" else new
        try:
            found: dict[str, object] = json.loads(await self._service.run("ledger", "--json", code=None))
        finally:
            self._service.environment = new
        return found


@asynccontextmanager
async def load(service: Service) -> AsyncIterator[list[str]]:
    """Emit events on every line while the context is open; yield their ids."""
    sent: list[str] = []

    async def emit() -> None:
        while True:
            line = LINES[len(sent) % len(LINES)]
            sent.append(service.sandbox.emit(Emission(type="message.received", line=line))[0])
            await asyncio.sleep(1 / RATE)

    task = asyncio.create_task(emit())
    try:
        yield sent
    finally:
        await end_task(task)


async def test_upgrade_and_rollback_under_load_lose_nothing(service: Service, pytestconfig: pytest.Config) -> None:
    assert pytestconfig.cache is not None
    try:
        old = check_out(previous_revision(), pytestconfig.cache.mkdir("revisions"))
    except NoHistory as missing:
        pytest.skip(f"missing tool: {missing}")
    if isinstance(service.redis, SharedCluster) and not (old / "relay/core/redis_url/cluster.py").exists():
        pytest.skip(f"{NOT_THERE}the revision before this one does not know clusters")
    if service.redis.shards > 1 and not (old / "relay/store/sharding/growth").exists():
        pytest.skip(f"{NOT_THERE}the revision before this one has no shards")
    fleet = Fleet(service, old)
    assert (await fleet.place()).startswith(str(old))
    await service.bootstrap()
    await fleet.start("ingress", "old")
    await fleet.start("worker", "old")
    async with load(service) as sent:
        await fleet.start("worker", "new")  # the order of deploy/docs/upgrading.md
        await have_passed(service, sent)
        await fleet.stop("worker", "old")
        await have_passed(service, sent)
        await fleet.start("ingress", "new")
        await have_passed(service, sent)
        await fleet.start("worker", "old")
        await fleet.stop("worker", "new")
        await have_passed(service, sent)
        await fleet.stop("ingress", "old")
        await have_passed(service, sent)
    await service.sandbox.deliveries.settled()
    by_bot = {event_id for number, event_id in enumerate(sent) if LINES[number % len(LINES)] != LINES[2]}
    await eventually(lambda: set(sent) <= set(service.sink.ids("/crm")) and by_bot <= set(service.sink.ids("/bot")))
    counted = {"bot": len(by_bot), "crm": len(sent)}

    async def is_counted() -> bool:
        async with service.redis.client() as redis:
            return {row.subscription: row.delivered for row in await Ledger(redis).lanes()} == counted

    await eventually(is_counted)
    for revision in ("new", "old"):
        ledger = await fleet.ledger(revision)
        assert ledger["balances"], ledger
        assert {row["subscription"]: row["delivered"] for row in ledger["subscriptions"]} == counted  # type: ignore[attr-defined]
    assert service.logged("lane.state_lost") == service.logged("event.quarantined") == 0


async def have_passed(service: Service, sent: list[str]) -> None:
    """Wait until events have passed that were emitted after this call."""
    first = len(sent)
    await eventually(lambda: len(sent) > first + 20)
    await eventually(lambda: set(sent[first : first + 20]) <= set(service.sink.ids("/crm")))
