"""The public tools for schemas: their packages, as tests/schemas/node/package-lock.json has them, and Go.

Packages are installed once into the cache directory of the user, by the hash of the lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SCHEMAS = Path(__file__).parents[2] / "deploy" / "schemas"
GO_ENVIRONMENT = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off"}
_NODE = Path(__file__).parent / "node"
_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


class MissingPackagesError(Exception):
    """The packages are neither in the cache nor at the registry of npm."""


def node_modules() -> Path:
    """Return the directory with the installed packages; install them if it is not there.

    Raises:
        MissingPackagesError: the registry does not answer.
    """
    wanted = hashlib.sha256((_NODE / "package-lock.json").read_bytes()).hexdigest()[:16]
    directory = _HOME / "linq-relay" / f"schema-tools-{wanted}"
    if (directory / "node_modules").is_dir():
        return directory / "node_modules"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_NODE / name, temporary)
        done = subprocess.run(  # noqa: S603  our own command
            [shutil.which("npm") or "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=temporary,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MissingPackagesError(done.stderr[-500:])
        directory.mkdir(exist_ok=True)
        try:
            (Path(temporary) / "node_modules").rename(directory / "node_modules")
        except OSError:
            if not (directory / "node_modules").is_dir():  # else another process was faster
                raise
    return directory / "node_modules"


def node_modules_or_skip() -> Path:
    """Return the directory with the installed packages; skip the test without them, which the summary then says."""
    try:
        return node_modules()
    except MissingPackagesError as error:
        pytest.skip(f"missing tool: packages of npm ({error})")


def run_script(name: str, *arguments: str, modules: Path, text: str = "") -> str:
    """Run a script of `node/`; return what it prints."""
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(_NODE / name, directory)
        (Path(directory) / "node_modules").symlink_to(modules)
        return _run("node", str(Path(directory) / name), *arguments, text=text)


def run_go(*arguments: str, directory: Path, text: str = "") -> str:
    """Run the command `go` in a directory, without the network; return what it prints."""
    return _run("go", *arguments, text=text, cwd=directory, env=os.environ | GO_ENVIRONMENT)


def run_tsc(*files: str, directory: Path, modules: Path) -> None:
    """Check files in a directory with the compiler of TypeScript, as strictly as it can.

    Its own libraries are not checked, which would take three quarters of the time; our declarations are.
    """
    options = ("--noEmit", "--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--skipDefaultLibCheck")
    _run("node", str(modules / "typescript" / "bin" / "tsc"), *options, *files, cwd=directory)


def generate(out: Path, modules: Path) -> None:
    """Make the TypeScript types and the Go structs of the committed schemas, below `out`."""
    run_script("generate.mjs", str(SCHEMAS), str(out), modules=modules)
    _run("gofmt", "-w", str(out / "go"))


def _run(*command: str, text: str = "", cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603  our own command
        command, input=text, cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
