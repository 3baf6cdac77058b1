"""The languages that have a sample consumer, and how each is built with the driver of the tests.

A build is made once and kept in the user's cache, under a digest of its sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.samples.handlers import CACHE, SAMPLES

DRIVERS = Path(__file__).with_name("drivers")


@dataclass(frozen=True, slots=True)
class Language:
    """A language, and the commands of its tools."""

    name: str
    """Name of its folder in `deploy/samples`."""
    tool: str
    suffix: str
    """Suffix of its source files."""
    driver: str
    build: tuple[str, ...]
    """Command that is run once in a folder with the sample and the driver."""
    run: tuple[str, ...]

    @property
    def sources(self) -> list[Path]:
        """The files that a team copies and reads."""
        return sorted((SAMPLES / self.name).glob(f"*{self.suffix}"))

    def built(self) -> Path:
        """Return the folder of the build; make it if it is not there."""
        folder = SAMPLES / self.name
        files = [file for file in [*sorted(folder.iterdir()), DRIVERS / self.driver] if file.is_file()]
        digest = hashlib.sha256(b"\0".join(file.name.encode() + b"\0" + file.read_bytes() for file in files))
        target = CACHE / f"pull-{self.name}-{digest.hexdigest()[:16]}"
        if not target.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(dir=CACHE))
            for file in files:
                shutil.copy(file, making)
            subprocess.run(self.build, cwd=making, check=True, env=_environment())  # noqa: S603  ours
            try:
                making.rename(target)
            except OSError:  # another process was quicker
                shutil.rmtree(making)
        return target


def _environment() -> dict[str, str]:
    """Return the environment of a build, in which tools change no file of the sample."""
    return {**os.environ, "GOFLAGS": "-mod=readonly", "npm_config_update_notifier": "false"}


NODE = Language(
    name="node",
    tool="node",
    suffix=".mjs",
    driver="driver.mjs",
    build=("npm", "ci", "--no-audit", "--no-fund", "--silent"),
    run=("node", "driver.mjs"),
)
GO = Language(
    name="go",
    tool="go",
    suffix=".go",
    driver="driver.go",
    build=("go", "build", "-o", "member", "."),
    run=("./member",),
)
LANGUAGES = (NODE, GO)
