"""Processes of the relay that tests start: forks of a server that has imported it (`tests.forked.server`).

`start_python` is for tests with an event loop, `running_python` for those without.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tests.forked import server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Stream = int | IO[bytes] | None

_IMPORTED_WITH = dict(os.environ)  # that of the first test would have its variables


class ForkedProcess(asyncio.subprocess.Process):
    """A fork, with what tests use of asyncio's `Process`."""

    def __init__(
        self, pid: int, ended: asyncio.Task[int], out: asyncio.StreamReader | None, err: asyncio.StreamReader | None
    ) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = None, out, err
        self._ended = ended

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Wait until it has ended."""
        return await asyncio.shield(self._ended)

    def send_signal(self, signal: int) -> None:
        """Send it a signal."""
        if self._ended.done():
            raise ProcessLookupError
        os.kill(self.pid, signal)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def communicate(self, input: bytes | bytearray | memoryview | None = None) -> tuple[bytes, bytes]:  # noqa: A002  as asyncio calls it
        """Wait until it has ended, and return the rest of its output."""
        assert input is None
        out, err, _ = await asyncio.gather(_rest(self.stdout), _rest(self.stderr), self.wait())
        return out, err


class BlockingFork:
    """A fork, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, responses: socket.socket) -> None:
        self.pid = pid
        self._responses = responses
        self._returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or the negative number of the signal that ended it; None while it runs."""
        try:
            return self.wait(0)
        except (BlockingIOError, TimeoutError):
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        if self._returncode is None:
            self._responses.settimeout(timeout)
            self._returncode = int(self._responses.recv(64))
        return self._returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


@contextmanager
def running_python(
    module: str, *arguments: str, environment: Mapping[str, str], directory: Path, log: IO[bytes], timeout: float = 20
) -> Iterator[subprocess.Popen[bytes] | BlockingFork]:
    """Run what `python -m MODULE ARGUMENTS` is, with its output in `log`; it has `timeout` seconds to stop."""
    process: subprocess.Popen[bytes] | BlockingFork
    if sys.platform != "linux":
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, env=environment, cwd=directory, stdout=log, stderr=log)  # noqa: S603  ours
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout)
        return
    request = {
        "module": module,
        "arguments": arguments,
        "environment": dict(environment),
        "directory": str(directory),
        "new_session": False,
    }
    with Path(os.devnull).open("rb") as nothing:
        responses = _requested(request, nothing.fileno(), log.fileno(), log.fileno())
    with responses:
        pid = b""
        while not pid.endswith(b"\n"):  # the exit code may be close behind
            pid += responses.recv(1)
        process = BlockingFork(int(pid), responses)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout)


async def start_python(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdout: Stream = None,
    stderr: Stream = None,
    new_session: bool = False,
    new_interpreter: bool = False,
) -> asyncio.subprocess.Process:
    """Start what `python -m MODULE ARGUMENTS` is, without standard input; streams as for `asyncio.subprocess`.

    A variable for the interpreter itself, such as PYTHONIOENCODING, needs a new one, as does a test of its start.
    """
    environment = {"RELAY_ADMIN_LISTEN": "127.0.0.1:0", **(os.environ if environment is None else environment)}
    ours = {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LC_", "LANG"))}
    if new_interpreter or sys.platform != "linux" or not ours.items() <= _IMPORTED_WITH.items():
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env=environment,
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=new_session,
        )
    request = {
        "module": module,
        "arguments": arguments,
        "environment": environment,
        "directory": str(directory or Path.cwd()),
        "new_session": new_session,
    }
    with ExitStack() as passed:
        _, nothing = await _stream(asyncio.subprocess.DEVNULL, passed)
        out, out_end = await _stream(1 if stdout is None else stdout, passed)
        err, err_end = await _stream(2 if stderr is None else stderr, passed)
        responses = _requested(request, nothing, out_end, err_end)
    reader, writer = await asyncio.open_connection(sock=responses)
    pid = int(await reader.readline())
    return ForkedProcess(pid, asyncio.create_task(_end_of(reader, writer)), out, err)


def _requested(request: Mapping[str, object], *streams: int) -> socket.socket:
    """Have the server fork, with the descriptors as standard streams; return the socket for its responses."""
    responses, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_server(), [json.dumps(request).encode()], [theirs.fileno(), *streams])
    return responses


@cache
def _server() -> socket.socket:
    """Start the server of this process, and return the socket for requests."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-P", server.__file__, str(theirs.fileno())],
            env=_IMPORTED_WITH,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


async def _stream(given: int | IO[bytes], passed: ExitStack) -> tuple[asyncio.StreamReader | None, int]:
    """Return the reader of a pipe, if one is asked for, and the descriptor for the process, closed with `passed`."""
    reader = None
    if given == asyncio.subprocess.PIPE:
        reading, end = os.pipe()
        protocol = asyncio.StreamReaderProtocol(reader := asyncio.StreamReader())
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb"))
    elif given == asyncio.subprocess.DEVNULL:
        end = os.open(os.devnull, os.O_RDWR)
    else:
        end = os.dup(given if isinstance(given, int) else given.fileno())
    passed.callback(os.close, end)
    return reader, end


async def _end_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    try:
        return int(await reader.readline())
    finally:
        writer.close()


async def _rest(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()
