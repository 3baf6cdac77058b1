"""Linq switches off, assigns and releases: the workers follow within seconds, also under kills and API faults."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from relay.sandbox.actions import Actions
from relay.sandbox.faults.models import ApiAnswer, ApiFailure, Disable
from tests.journeys.conftest import LINES, Service, open_service
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.sandbox.state import Subscription
    from tests.on_cluster import Store

pytestmark = [pytest.mark.slow, pytest.mark.background, pytest.mark.timeout(180)]  # seconds, also on a busy machine

NEW_LINE = "+16465550199"


@pytest.fixture
async def healing(tmp_path: Path, store: Store) -> AsyncIterator[Service]:
    """Run an ingress and two workers that may repair what they find at Linq."""
    async with open_service(tmp_path, store) as service:
        service.rules.write_text(service.rules.read_text().replace("account = false", "heal = true"))
        await service.bootstrap()
        await service.start("ingress")
        for _ in range(2):
            await service.start(module="workers")
        await eventually(service.is_ready)
        await eventually(lambda: service.logged("worker.started") == 2)
        yield service


def actions(service: Service) -> Actions:
    return Actions(service.sandbox.state, service.sandbox.emit, service.sandbox.history)


def of(service: Service, line: str) -> Subscription | None:
    """Return the subscription of a line at Linq, if it has one."""
    subscriptions = service.sandbox.state.subscriptions.values()
    return next((each for each in subscriptions if list(each.phone_numbers or ()) == [line]), None)


def is_on(service: Service, line: str) -> bool:
    found = of(service, line)
    return found is not None and found.is_active


async def test_relay_follows_what_linq_does(healing: Service) -> None:
    """It looks at once: the next look without a cause would come minutes later."""
    linq = actions(healing)
    linq.add_fault(Disable(kind="disable", line=LINES[0]))
    assert not is_on(healing, LINES[0])
    await eventually(lambda: is_on(healing, LINES[0]))
    linq.add_line(NEW_LINE)
    await eventually(lambda: is_on(healing, NEW_LINE))
    linq.remove_line(LINES[2])
    await eventually(lambda: of(healing, LINES[2]) is None)


async def test_relay_follows_under_kills_and_api_faults(healing: Service) -> None:
    linq = actions(healing)
    linq.add_fault(ApiFailure.model_validate({"status": 500, "share": 0.5, "path": "/v3"}))
    linq.add_fault(ApiFailure.model_validate({"status": 429, "share": 0.2, "path": "/v3", "seed": 2}))
    answers = {"answer": "short", "share": 0.3, "path": "/v3/phone_numbers", "seed": 3}
    linq.add_fault(ApiAnswer.model_validate(answers))
    for line in LINES:
        linq.add_fault(Disable(kind="disable", line=line))
    await eventually(lambda: healing.logged("linq.event"))
    healing.processes[1].send_signal(signal.SIGKILL)
    linq.add_line(NEW_LINE)
    await healing.start(module="workers")
    await eventually(lambda: all(is_on(healing, line) for line in (*LINES, NEW_LINE)), 100)
