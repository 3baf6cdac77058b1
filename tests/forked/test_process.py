"""A fork is what a new interpreter would be."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest

from relay import __version__
from relay.process.build import revision
from tests.forked.process import start_python
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

VERSION = f"linq-relay {__version__} (revision {revision()})\n"
PIPE = asyncio.subprocess.PIPE
SANDBOX = ("relay", "sandbox", "--listen", "127.0.0.1:0")


@pytest.mark.parametrize("new_interpreter", [False, True])
async def test_output_and_exit_code(*, new_interpreter: bool) -> None:
    for argument, expected in (("--version", (0, VERSION, "")), ("--nothing", (2, "", ANY))):
        process = await start_python(*("relay", argument), stdout=PIPE, stderr=PIPE, new_interpreter=new_interpreter)
        out, err = await process.communicate()
        assert (process.returncode, out.decode(), err.decode()) == expected


ENDS = """
import atexit, sys, threading, time
def later():
    time.sleep(0.05)
    print("thread")
threading.Thread(target=later).start()
atexit.register(print, "exit function")
sys.exit({code})
"""


@pytest.mark.parametrize("new_interpreter", [False, True])
@pytest.mark.parametrize(("code", "expected"), [("", (0, "")), ("-1", (255, "")), ("'wrong'", (1, "wrong\n"))])
async def test_end(code: str, expected: tuple[int, str], tmp_path: Path, *, new_interpreter: bool) -> None:
    (tmp_path / "ends.py").write_text(ENDS.format(code=code))
    process = await start_python("ends", directory=tmp_path, stdout=PIPE, stderr=PIPE, new_interpreter=new_interpreter)
    out, err = await process.communicate()
    assert (process.returncode, err.decode(), out.decode()) == (*expected, "thread\nexit function\n")


async def test_directory_environment_and_log(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[topics]]\nname = "all"\nevents = ["*"]\n')
    environment = {**os.environ, "RELAY_CONFIG": "rules.toml"}
    with (tmp_path / "log").open("wb") as log:
        process = await start_python("relay", "check", environment=environment, directory=tmp_path, stdout=log)
    assert await process.wait() == 0
    assert "rules.toml is valid." in (tmp_path / "log").read_text()


async def test_signals_reach_it_alone() -> None:
    ended, other = [await start_python(*SANDBOX, stdout=PIPE, new_session=True) for _ in range(2)]
    for each in (ended, other):
        assert each.stdout is not None
        await each.stdout.readline()
        assert os.getsid(each.pid) == each.pid
    ended.terminate()
    assert await ended.wait() == 0
    assert other.returncode is None
    os.killpg(other.pid, signal.SIGKILL)
    assert await other.wait() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        other.kill()


async def test_process_of_a_test_that_left_it_is_killed() -> None:
    process = await start_python(*SANDBOX, stdout=PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    process._ended.cancel()  # type: ignore[attr-defined]  # as the end of the event loop does

    def is_gone() -> bool:
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    await eventually(is_gone)
    await process.stdout.read()
