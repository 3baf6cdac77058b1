"""Short form of `python -m tests.soak`: a group in each language, members killed, a group paused and deleted."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.forked.process import start_python

ROOT = Path(__file__).resolve().parents[2]
SEED = os.environ.get("SOAK_SEED") or str(datetime.now(tz=UTC).toordinal())
EVENTS = 500


async def soak(*arguments: str, new_interpreter: bool = False) -> tuple[int | None, str, str]:
    process = await start_python(
        *("tests.soak", *arguments),
        environment={**os.environ, "COLUMNS": "200"},
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


@pytest.mark.slow
@pytest.mark.background
@pytest.mark.needs_tool("npm")
@pytest.mark.needs_tool("go")
@pytest.mark.timeout(330)  # the first time, the samples are built
async def test_every_promise_is_kept_in_three_languages(tmp_path: Path) -> None:
    code, output, errors = await soak(
        *("--events", str(EVENTS), "--seed", SEED, "--rate", "40", "--members", "3", "--claim-after", "4"),
        *("--poison-every", "250", "--slow-every", "400", "--json", "--keep", str(tmp_path)),
        new_interpreter=True,
    )
    found = json.loads(output or "{}")
    broken = [promise for promise in found.get("promises", ()) if promise["broken"]]
    assert (code, broken) == (0, []), f"{json.dumps(broken, indent=1)}\n{errors}"
    for group in found["groups"]:
        assert group["processed"] + group["dead"] + group["trimmed"] >= EVENTS
        assert group["kills"] + group["crashes"]
        assert group["stops"] >= 3
        assert group["deleted"] == 1


async def test_unknown_group_is_rejected() -> None:
    code, _, errors = await soak("--languages", "go,cobol")
    assert code == 2
    assert "unknown cobol" in errors
