"""The distribution `linq-relay-consumer`, built from this checkout, in environments with nothing else but a redis-py.

Releases of redis-py are downloaded once, into a directory below the user's cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "deploy" / "consumer"
_KEPT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "linq-relay"
_DOWNLOADS = _KEPT / "redis-py"
MYPY_CACHE = _KEPT / "mypy"
_TIMEOUT = 120.0  # seconds; a download takes a few


@dataclass(frozen=True)
class Environment:
    """An interpreter with packages of its own."""

    python: str
    path: str = ""
    """Value of PYTHONPATH."""

    def packages(self) -> dict[str, str]:
        """Return the names and versions of what is installed."""
        listed = json.loads(_pip("--python", self.python, "list", "--format", "json"))
        return {package["name"].lower(): package["version"] for package in listed}

    def run(self, *arguments: str, directory: Path) -> str:
        """Run the interpreter with `arguments` in `directory`; return its output."""
        return run(self.python, *arguments, directory=directory, **self.variables)

    @property
    def variables(self) -> dict[str, str]:
        """Variables for its processes."""
        return {"PYTHONPATH": self.path, "PYTHONUNBUFFERED": "1"}


def run(*command: str, directory: Path = ROOT, **variables: str) -> str:
    """Run a command, which must end with 0; return its output."""
    done = subprocess.run(  # noqa: S603  our own words
        command, cwd=directory, env=clean(variables), text=True, capture_output=True, timeout=_TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process: this one's without the interpreter's own variables, and `variables`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | dict(variables)


def build(directory: Path, kind: str, source: Path = PROJECT, *, epoch: int = 1_700_000_000) -> Path:
    """Build the distribution, `wheel` or `sdist`, into `directory` and return its file."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(directory))
    run(*command, directory=source, SOURCE_DATE_EPOCH=str(epoch))
    [file] = directory.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


def installed(wheel: Path, redis: str, directory: Path) -> Environment:
    """Return a new environment of this Python in `directory`, with the wheel and a release of redis-py."""
    run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    python = str(directory / "bin" / "python")
    offline = ("--no-index", "--find-links", str(_downloads("here", f"redis=={redis}")))
    _pip("--python", python, "install", "--no-compile", *offline, str(wheel), f"redis=={redis}")
    return Environment(python)


def linked(wheel: Path, redis: str, directory: Path) -> Environment:
    """Return what `installed` does, without pip: the release is unpacked once, for mypy and bytecode to be kept."""
    kept = _DOWNLOADS / f"unpacked-{redis}"
    if not kept.exists():
        new = kept.with_name(f"{kept.name}.{os.getpid()}")
        for file in _downloads("here", f"redis=={redis}").glob("*.whl"):
            zipfile.ZipFile(file).extractall(new)
        with suppress(OSError):  # another process was faster
            new.rename(kept)
        shutil.rmtree(new, ignore_errors=True)
    run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    [packages] = directory.glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "redis-py.pth").write_text(f"{kept}\n")
    return Environment(str(directory / "bin" / "python"))


def unpacked(wheel: Path, directory: Path, interpreter: str, *requirements: str) -> Environment:
    """Return an interpreter that imports the wheel and these releases, for Python 3.9, from `directory`.

    Without pip, which takes a minute on PyPy.
    """
    options = ("--no-deps", "--python-version", "3.9", "--only-binary", ":all:")
    for file in (wheel, *_downloads("3.9", *options, *requirements).glob("*.whl")):
        zipfile.ZipFile(file).extractall(directory)
    return Environment(interpreter, str(directory))


def _downloads(name: str, *arguments: str) -> Path:
    """Return a directory with what pip downloads for `arguments`; skip the test if no registry has it."""
    kept = _DOWNLOADS / "-".join([name, *(word.replace("==", "-") for word in arguments if "==" in word)])
    if not kept.exists():
        new = kept.with_name(f"{kept.name}.{os.getpid()}")
        try:
            _pip("download", "--dest", str(new), *arguments)
        except AssertionError as error:
            pytest.skip(f"missing tool: a package registry with {' '.join(arguments)} ({error})")
        try:
            new.rename(kept)
        except OSError:  # another process was faster
            shutil.rmtree(new)
    return kept


def _pip(*arguments: str) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)
