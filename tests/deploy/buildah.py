"""Images built and run by buildah without a daemon, on a base made by debootstrap: no registry is needed.

`buildah run` with chroot isolation shares the network and the process table of this machine; its containers are started
and stopped like other processes. Images and containers are in a storage of their own, below the cache directory of the
user: the base stays there, because debootstrap takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
STORAGE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "linq-relay" / "buildah"
BASE = "localhost/debian-python"
_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs")
"""Certificates of this machine: its registry may be behind a proxy that has its own authority."""


class BuildahError(Exception):
    """A command that failed, with the end of its output."""


@dataclass(frozen=True, slots=True)
class Buildah:
    """buildah with a storage of its own in `directory`."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of each command."""
        return {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a buildah command."""
        storage = ("--root", str(self.directory / "storage"), "--runroot", str(self.directory / "run"))
        return ["buildah", *storage, *arguments]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a buildah command and return its output, without the last newline."""
        return _run(self.command(*arguments), self.environment, code)

    def make_base(self) -> None:
        """Make the image `BASE`, Debian with its python3, unless an earlier run has."""
        with suppress(BuildahError):
            self.run("inspect", "--type", "image", BASE)
            return
        container = self.run("from", "scratch")
        with tempfile.TemporaryDirectory() as tree:
            _run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", tree], self.environment)
            archive = f"{tree}/tmp/base.tar"
            _run(
                ["tar", "--create", "--file", archive, "--directory", tree, "--exclude=./tmp/*", "."], self.environment
            )
            self.run("add", "--quiet", container, archive, "/")
        self.run("commit", "--quiet", "--rm", container, BASE)

    def build(self, tag: str, **arguments: str) -> None:
        """Build deploy/Dockerfile with its build arguments, in the format that has a health check."""
        options = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
        options += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", "--file", "deploy/Dockerfile", "--tag", tag]
        self.run("build", "--format", "docker", *options, str(ROOT))

    def configuration(self, image: str) -> dict[str, Any]:
        """Return the configuration of an image in Docker's format."""
        inspected: dict[str, Any] = json.loads(self.run("inspect", "--type", "image", image))
        configuration: dict[str, Any] = inspected["Docker"]["config"]
        return configuration


def first_of_container(pid: int) -> int:
    """Return the pid of the command that `buildah run` with this pid runs: its first descendant that is not buildah.

    A signal to buildah itself ends the container at once and loses the end of its output.
    """
    while "buildah" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")[0]:
        children = [lines.read_text(encoding="utf-8").split() for lines in Path(f"/proc/{pid}/task").glob("*/children")]
        pid = next((int(child) for thread in children for child in thread), 0)
        if not pid:
            raise ProcessLookupError("buildah runs nothing")
    return pid


def _run(command: list[str], environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(  # noqa: S603  our own words
        command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode != code:
        raise BuildahError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.rstrip("\n")
