"""Fork server: a process that has imported the relay, and is forked for each process that a test starts.

The imports take about a second of CPU, and a fork has them behind it. In all else the fork is the process that
`python -m MODULE` would be: with its own id, signals, environment, directory, standard streams and exit. Only the
interpreter's last step is left out, which frees every object and module: it cost three quarters of a short command.

A request comes with a socket for the responses to it: the id of the process, then its exit code. A requester that
closes this socket first has the process killed; the end of the requests ends the server.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

IMPORTED_LATER = ("relay.cli.up", "relay.web.server", "workers.runtime.runner")
"""Modules that the commands import when they run."""
MAX_REQUEST = 2**18
STREAMS = 3


@dataclass(frozen=True, slots=True)
class Child:
    """A fork that has not been waited for."""

    pid: int
    pidfd: int
    requester: socket.socket

    def close(self) -> None:
        """Close what the server has of it."""
        os.close(self.pidfd)
        self.requester.close()


@dataclass(slots=True)
class Server:
    """The forks, and the socket on which requests for more arrive."""

    requests: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, Child] = field(default_factory=dict)

    def run(self) -> dict[str, Any] | None:
        """Serve until the requests end, and return None; in a fork, return its request."""
        self.selector.register(self.requests, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.requests:
                    message, received, _, _ = socket.recv_fds(self.requests, MAX_REQUEST, 1 + STREAMS)
                    if not message:
                        self._stop()
                        return None
                    if self._fork(socket.socket(fileno=received[0]), received[1:]):
                        return json.loads(message)  # type: ignore[no-any-return]
                elif key.fd in self.children:
                    self._report(self.children.pop(key.fd))
                else:  # the requester of a child closed its socket
                    self.selector.unregister(key.fileobj)
                    signal.pidfd_send_signal(key.data, signal.SIGKILL)

    def _fork(self, requester: socket.socket, streams: list[int]) -> bool:
        """Return True in the fork, which has the streams as its standard ones and nothing of the server."""
        pid = os.fork()
        if not pid:
            self.selector.close()
            self.requests.close()
            requester.close()
            for other in self.children.values():
                other.close()
        for number, stream in enumerate(streams):
            if not pid:
                os.dup2(stream, number)
            os.close(stream)
        if pid:
            child = Child(pid, os.pidfd_open(pid), requester)
            self.children[child.pidfd] = child
            self.selector.register(child.pidfd, selectors.EVENT_READ)
            self.selector.register(requester, selectors.EVENT_READ, child.pidfd)
            requester.sendall(b"%d\n" % pid)
        return not pid

    def _report(self, child: Child) -> None:
        """Wait for a child that has ended, and report its exit code."""
        _, status = os.waitpid(child.pid, 0)
        self.selector.unregister(child.pidfd)
        with suppress(KeyError):
            self.selector.unregister(child.requester)
        with suppress(OSError):  # the requester is gone
            child.requester.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        child.close()

    def _stop(self) -> None:
        for child in self.children.values():
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)


def become(request: dict[str, Any]) -> None:
    """Take on the session, directory and environment of a request, and open the standard streams."""
    if request["new_session"]:
        os.setsid()
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.path.insert(0, request["directory"])
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  standard streams
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def run_module(module: str, arguments: list[str]) -> None:
    """Run a module as the program of this process."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def end(code: object) -> None:
    """End as the interpreter does with an exit code, up to where it would free all memory."""
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(code)  # the interpreter has words and a code for it
    os._exit((code or 0) & 0xFF)


def execute(_: str, command: list[str]) -> None:
    """Run the program of `relay.process.subprocesses.python`, in place of `os.execv`: it ends with SystemExit."""
    run_module(command[3], command[4:])


def main() -> None:
    """Serve; in a fork, run the requested module and end as the interpreter does."""
    commands = importlib.import_module("relay.cli.program").TABLE.values()
    for module in (*(f"relay.cli.{command.module}" for command in commands), *IMPORTED_LATER):
        importlib.import_module(module)
    assert threading.active_count() == 1, "a fork has only the thread that forks"
    gc.collect()
    gc.freeze()
    if request := Server(socket.socket(fileno=int(sys.argv[1]))).run():
        become(request)
        os.execv = execute  # type: ignore[assignment]  # takes the one form that the relay uses
        code: object = None
        try:
            run_module(request["module"], request["arguments"])
        except SystemExit as stopped:
            code = stopped.code
        end(code)


if __name__ == "__main__":
    main()
