"""The supervisor: exits that restart a process, and exits that end the group."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from relay.process import supervisor as module
from relay.process.supervisor import WRONG_SETTINGS, Program, supervise
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

COUNTS_ITS_STARTS = """
import pathlib, sys, time
starts = pathlib.Path({file!r})
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
codes = {codes!r}
if (number := len(starts.read_text())) <= len(codes):
    sys.exit(codes[number - 1])
time.sleep(60)
"""


def program(file: Path, *codes: int) -> Program:
    """Return a program that exits with the next of `codes` at each start, and then keeps running."""
    return Program(file.name, [sys.executable, "-c", COUNTS_ITS_STARTS.format(file=str(file), codes=codes)])


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart programs without a pause."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_MAX_PAUSE", 0.02)


@asynccontextmanager
async def supervised(*programs: Program) -> AsyncIterator[asyncio.Task[int]]:
    stop = asyncio.Event()
    task = asyncio.create_task(supervise(programs, stop))
    try:
        yield task
    finally:
        stop.set()
        await task


def starts(file: Path) -> int:
    return len(file.read_text()) if file.exists() else 0


async def test_exited_program_is_restarted_alone(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with supervised(program(tmp_path / "a", 1, 0), program(tmp_path / "b")) as task:
            await eventually(lambda: (starts(tmp_path / "a"), starts(tmp_path / "b")) == (3, 1))
            assert not task.done()
    assert task.result() == 0
    assert starts(tmp_path / "b") == 1
    assert [line["code"] for line in logs if line["event"] == "process.ended"] == [1, 0]


async def test_wrong_settings_at_first_start_end_the_group(tmp_path: Path) -> None:
    async with supervised(program(tmp_path / "a", WRONG_SETTINGS), program(tmp_path / "b")) as task:
        assert await asyncio.wait_for(asyncio.shield(task), 15) == WRONG_SETTINGS


async def test_wrong_settings_later_do_not_end_the_group(tmp_path: Path) -> None:
    """Break relay.toml after the start: the group continues with its current rules."""
    codes = (1, WRONG_SETTINGS, WRONG_SETTINGS)
    async with supervised(program(tmp_path / "a", *codes), program(tmp_path / "b")) as task:
        await eventually(lambda: (starts(tmp_path / "a"), starts(tmp_path / "b")) == (4, 1))
        assert not task.done()
    assert starts(tmp_path / "b") == 1
