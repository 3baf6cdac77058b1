"""The command line, in this process (`invoke`, `main_here`) or as a process of its own (`relay`, `relay_process`).

A process of its own is for what needs one: signals, commands that configure the logs of the whole process, and one
command of each kind to show that it is the same there. It is a fork (`tests.forked.process`) unless a test is about
the start of the interpreter, which takes a second more.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from relay.cli import main
from relay.cli.program import app
from tests.forked.process import start_python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

TIMEOUT = 40.0
"""Seconds for a command to end, or for a process to say something."""

RULES = """
[[topics]]
name = "support"
events = ["message.received", "reaction.*"]
lines = ["+16465550123"]

[[topics]]
name = "everything"
events = ["*"]
"""


@dataclass(frozen=True, slots=True)
class Said:
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.out)

    def is_one_message_without_traceback(self) -> bool:
        """Return True if it printed an error without a traceback, and nothing else."""
        return bool(self.err.strip()) and "Traceback" not in self.err and not self.out


def invoke(*arguments: str | Path, input: bytes | None = None) -> Said:  # noqa: A002  as the runner calls it
    """Run a command in this process; errors that `main` would print are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input, catch_exceptions=False)
    return Said(result.exit_code, result.stdout, result.stderr)


async def invoke_beside(*arguments: str | Path, input: bytes | None = None) -> Said:  # noqa: A002  as `invoke`
    """As `invoke`, from a test whose event loop is running."""
    return await asyncio.to_thread(invoke, *arguments, input=input)


async def main_here(*arguments: str | Path, **environment: str) -> Said:
    """As `relay`, in this process: `main` with its errors told and its exit code."""

    def run_main() -> Said:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["relay", *map(str, arguments)])
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                main()
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else 0
        return Said(code, out.getvalue(), err.getvalue())

    return await asyncio.to_thread(run_main)


async def relay(*arguments: str | Path, **environment: str) -> Said:
    """Run `python -m relay` with these arguments until it ends; `environment` is added to ours."""
    process = await _start(arguments, environment)
    try:
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate()
    finally:
        await _end(process)
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def relay_process(*arguments: str | Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m relay` while it runs; ended when the context is left."""
    process = await _start(arguments, environment)
    try:
        yield process
    finally:
        await _end(process)


@asynccontextmanager
async def relay_interpreter(*arguments: str | Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """As `relay_process`, from the start of an interpreter on."""
    process = await _start(arguments, environment, new_interpreter=True)
    try:
        yield process
    finally:
        await _end(process)


async def line_with(text: str, stream: asyncio.StreamReader | None) -> str:
    """Return the next line of `stream` that contains `text`."""
    assert stream is not None
    seen = ""
    async with asyncio.timeout(TIMEOUT):
        while line := (await stream.readline()).decode():
            seen += line
            if text in line:
                return line
    raise AssertionError(f"the process ended without saying {text!r}, but: {seen}")


async def ended(process: asyncio.subprocess.Process) -> Said:
    """Return the rest of the output of a process, once it has ended."""
    async with asyncio.timeout(TIMEOUT):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


async def _start(
    arguments: tuple[str | Path, ...], environment: Mapping[str, str], *, new_interpreter: bool = False
) -> asyncio.subprocess.Process:
    return await start_python(
        "relay",
        *map(str, arguments),
        environment={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        new_interpreter=new_interpreter,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.communicate()
