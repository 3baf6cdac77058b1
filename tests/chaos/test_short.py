"""Short form of `python -m tests.chaos`: one round of a few kinds of faults, with real processes.

The day chooses the kinds, so that the suite covers all of them in time; the seed in a failure repeats them
(`CHAOS_SEED=N pytest ...`).
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.faults.catalog import FAULTS
from tests.chaos.faults.kind import Servers
from tests.forked.process import start_python
from tests.journeys.conftest import QUICK_TAKEOVER
from tests.support import own_address

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SEED = os.environ.get("CHAOS_SEED") or str(datetime.now(tz=UTC).toordinal())
SLOW = {"starve-descriptors", "roll-workers", "roll-ingresses", "start-full"}  # they start many processes
QUICK = ",".join(
    kind
    for kind, fault in FAULTS.items()
    if kind not in SLOW and Servers.SINGLE in fault.servers and (own_address() or not fault.needs_address)
)
OF_CLUSTER = (
    "move-slot,half-move-slot,roll-redis,fail-over,kill-redis,lose-redis,stop-redis,delete-lane-groups,kill-worker"
)
KINDS = 2
EVENTS = 600


async def chaos(*arguments: str, new_interpreter: bool = False) -> tuple[int | None, str, str]:
    process = await start_python(
        *("tests.chaos", *arguments),
        environment={**os.environ, "COLUMNS": "200", "RELAY_TEST_TIMINGS": QUICK_TAKEOVER},
        directory=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        new_interpreter=new_interpreter,
    )
    try:
        async with asyncio.timeout(300):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()  # it then ends its own processes
            await process.wait()
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.background
@pytest.mark.timeout(330)
@pytest.mark.parametrize(
    "more", [("--faults", QUICK), ("--cluster", "--faults", OF_CLUSTER)], ids=["single", "cluster"]
)
async def test_every_promise_is_kept_while_everything_is_killed(tmp_path: Path, more: tuple[str, ...]) -> None:
    code, output, errors = await chaos(
        *("--events", str(EVENTS), "--seed", SEED, "--some", str(KINDS), "--longest", "1.5", "--json"),
        *("--keep", str(tmp_path), *more),
        new_interpreter=True,
    )
    found = json.loads(output or "{}")
    broken = [promise for promise in found.get("promises", ()) if promise["broken"]]
    assert (code, broken) == (0, []), f"{json.dumps(broken, indent=1)}\n{errors}"
    totals = found["totals"]
    assert (totals["accepted"], totals["lost"], totals["exactly_once_in_topics"]) == (EVENTS, 0, EVENTS)
    assert len([row for row in found["faults"] if row["times"]]) == KINDS


async def test_fault_of_a_cluster_needs_one() -> None:
    code, _, errors = await chaos("--faults", "move-slot")
    assert code == 2
    assert "move-slot needs --cluster" in errors


async def test_unknown_fault_is_rejected() -> None:
    code, _, errors = await chaos("--faults", "kill-worker,unplug")
    assert code == 2
    assert "unknown kind unplug" in errors
