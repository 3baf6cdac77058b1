"""The push handlers of deploy/samples, installed from their locks once, and run as a team would run them.

What npm installs is kept in the user's cache, by the lock's content; Go has caches of its own. FastAPI and what it
needs are in the tests' environment, in the versions of the sample's lock (`test_push.py` compares them).
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from relay.process.subprocesses import death_with_parent
from tests.support import TIMEOUT, eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "deploy/samples"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linq-relay"
PATH = "/webhooks/linq"
_INSTALL_TIMEOUT = 300


@cache
def node_modules(sample: Path) -> Path:
    """Return the packages of a Node sample, as its lock pins them; install them if they are not cached."""
    lock = (sample / "package-lock.json").read_bytes()
    home = CACHE / f"node-{sample.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # processes of pytest-xdist may want it at once
        if not (home / "installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(sample / name, home / name)
            _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", directory=home)
            (home / "installed").touch()
    return home / "node_modules"


def go_program(sample: Path, directory: Path) -> Path:
    """Compile a Go sample into a directory; what was compiled before comes from Go's own cache."""
    program = directory / sample.name
    _run("go", "build", "-mod=readonly", "-o", str(program), ".", directory=sample)
    return program


def _run(*command: str, directory: Path) -> None:
    done = subprocess.run(  # noqa: S603  npm or go
        command, cwd=directory, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} in {directory}:\n{done.stdout}\n{done.stderr}"


def _fastapi(directory: Path, port: int) -> list[str]:
    shutil.copy(SAMPLES / "fastapi/app.py", directory)
    return [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]


def _express(directory: Path, port: int) -> list[str]:
    del port  # in the environment
    for name in ("server.js", "package.json"):
        shutil.copy(SAMPLES / "express" / name, directory)
    modules = directory / "node_modules"
    if not modules.exists():
        modules.symlink_to(node_modules(SAMPLES / "express"))
    return ["node", "server.js"]


def _go(directory: Path, port: int) -> list[str]:
    return [str(go_program(SAMPLES / "go-push", directory)), "-listen", f"127.0.0.1:{port}"]


COMMANDS: dict[str, Callable[[Path, int], list[str]]] = {"fastapi": _fastapi, "express": _express, "go-push": _go}
"""What prepares each handler in a directory and returns its command line."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A push handler that can be started, again and again, on its port."""

    name: str
    directory: Path
    port: int

    @property
    def url(self) -> str:
        """Return the URL for a subscription."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    @asynccontextmanager
    async def running(self, secrets: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it with a value of WEBHOOK_SECRET; it must end with 0 at SIGTERM."""
        command = await asyncio.to_thread(COMMANDS[self.name], self.directory, self.port)
        with (self.directory / "output").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.directory,
                env={**os.environ, "WEBHOOK_SECRET": secrets, "PORT": str(self.port)},
                stdout=output,
                stderr=output,
                preexec_fn=death_with_parent(),
            )
        try:
            await eventually(lambda: self._is_listening(process))
            yield process
            process.terminate()
            async with asyncio.timeout(TIMEOUT):
                code = await process.wait()
            assert code in {0, -15}, self.output  # uvicorn passes the signal on to itself
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _is_listening(self, process: asyncio.subprocess.Process) -> bool:
        assert process.returncode is None, self.output
        async with aiohttp.ClientSession() as http:
            with suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{self.port}/"):
                    return True
        return False

    @property
    def output(self) -> str:
        """Return all that it printed."""
        return (self.directory / "output").read_text(errors="replace")

    @property
    def handled(self) -> list[str]:
        """Return the ids of the events that it handled, in that order."""
        rows = (line.split() for line in self.output.splitlines())
        return [row[1] for row in rows if len(row) == 3 and row[0] == "handled"]


def handler_of(name: str, directory: Path) -> Handler:
    """Return a handler that is not started yet."""
    directory.mkdir()
    return Handler(name, directory, reserve_port())
