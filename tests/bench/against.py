"""Another revision beside this checkout: both are measured in turns, on the same machine; the ratios are the result.

The other side is a folder with its `relay` and `workers` and, as a link, the tests of this checkout: the same bench
measures both, with the same rows. A revision that this bench cannot run, since it calls other functions, is measured by
its own (`own_bench`). Each measurement is a process, `python -m tests.bench PART --rounds 1 --relay-only --json`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.processes import ROOT
from tests.bench.sheet import Row, Sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOCKS = ("requirements.lock", "tests/requirements.lock")
_PREPARE = f". deploy/venv.sh; relay_venv {' '.join(_LOCKS)}"


class Side(NamedTuple):
    """A checkout, the interpreter of its libraries, and options that its bench knows."""

    name: str
    root: Path
    python: str
    options: tuple[str, ...] = ("--relay-only",)


class NotMeasured(Exception):
    """A side cannot be measured; the text says why and what to do."""


def this_checkout() -> Side:
    """Return the side of this checkout."""
    return Side("this checkout", ROOT, sys.executable)


@contextmanager
def other_side(name: str, *, own_bench: bool = False) -> Iterator[Side]:
    """Prepare a checkout with its .venv, or a revision of this repository; it is gone when the context closes."""
    directory = Path(name)
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as scratch:
        root = Path(scratch)
        if directory.is_dir():
            python = str(directory.absolute() / ".venv" / "bin" / "python")
            if not Path(python).exists() or not (directory / "relay").is_dir():
                raise NotMeasured(f"{name} is not a checkout with a .venv (`sh tests/run.sh --collect-only` makes one)")
            for entry in directory.absolute().iterdir():
                if entry.name not in {".git", ".venv"}:
                    (root / entry.name).symlink_to(entry)
        else:
            _extract(name, root)
            python = _python_for(root)
        if not own_bench:
            tests = root / "tests"
            if tests.is_symlink():
                tests.unlink()
            else:
                shutil.rmtree(tests)
            tests.symlink_to(ROOT / "tests")
        # The first process of a round must not be the one that compiles.
        subprocess.run([python, "-m", "compileall", "-qq", "relay", "workers"], cwd=root, check=False)  # noqa: S603  ours
        side = Side(name, root, python)
        yield side._replace(options=()) if own_bench else side


def _extract(revision: str, root: Path) -> None:
    git = ["git", "-C", str(ROOT), "archive", "--format=tar", "--end-of-options", revision]
    try:
        found = subprocess.run(git, capture_output=True, check=True)  # noqa: S603  a revision is data
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotMeasured(f"{revision} is neither a directory nor a revision of this repository") from error
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(root, filter="data")


def _python_for(root: Path) -> str:
    """Return this interpreter if it has all that the revision in `root` locks; otherwise make a .venv there."""
    if all(_pins(root / lock) <= _pins(ROOT / lock) for lock in _LOCKS):
        return sys.executable
    made = subprocess.run(["sh", "-ec", _PREPARE], cwd=root, check=False)  # noqa: S603,S607  the system's shell
    if made.returncode:
        raise NotMeasured("its .venv could not be made (above); a directory with a .venv can be named instead")
    return str(root / ".venv" / "bin" / "python")


def _pins(lock: Path) -> set[str]:
    return {line.split()[0] for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line}


class Turns(NamedTuple):
    """The rows of both sides, and the reasons why parts have none or fewer rounds."""

    former: Sheet
    latter: Sheet
    failures: list[str]


def measure_in_turns(sides: tuple[Side, Side], parts: Sequence[str], rounds: int, options: Sequence[str] = ()) -> Turns:
    """Measure the parts on both sides, in rounds; a part that fails on one side ends, and the next begins."""
    turns = Turns(Sheet(), Sheet(), [])
    for part in parts:
        try:
            for number in range(rounds):
                _measure_round(sides, turns, f"round {number + 1} of {rounds}", part, options, number % 2)
        except NotMeasured as error:
            turns.failures.append(str(error))
    return turns


def _measure_round(
    sides: tuple[Side, Side], turns: Turns, name: str, part: str, options: Sequence[str], first: int
) -> None:
    """Measure a part once on each side, beginning with `first`, since the second may find the machine warmer."""
    found = {}
    for at in (first, 1 - first):
        began = time.monotonic()
        found[at] = _measured(sides[at], part, options)
        took = time.monotonic() - began
        print(f"{part}, {name}, {sides[at].name}: {took:.0f} s", file=sys.stderr)  # noqa: T201  it takes a while
    turns.former.merge(found[0])
    turns.latter.merge(found[1])


def _measured(side: Side, part: str, options: Sequence[str]) -> Sheet:
    command = [side.python, "-m", "tests.bench", part, "--rounds", "1", "--json", *side.options, *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=side.root, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603  ours
        try:
            output, errors = process.communicate()
        except BaseException:
            process.terminate()  # it ends its own processes
            process.wait()
            raise
    if process.returncode:
        raise NotMeasured(
            f"{part} failed on {side.name}:\n{errors.strip()}\n(--own-bench measures it by its own bench)"
        )
    return Sheet([Row(row["part"], row["what"], row["unit"], _by_system(row["samples"])) for row in json.loads(output)])


def _by_system(samples: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return samples by today's names of the systems; older revisions call the relay `ours`."""
    return {"relay" if system == "ours" else system: values for system, values in samples.items()}
