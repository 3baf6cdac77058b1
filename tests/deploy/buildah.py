"""Images built and run by buildah without a daemon, on a base made by debootstrap: no registry is needed.

Containers share the network of this machine. Images and containers are in a storage of their own, below the cache
directory of the user: the base stays there, because debootstrap takes minutes, and so do the layers of builds.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent.parent
STORAGE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "linq-relay" / "buildah"
BASE = "localhost/debian-python-without-bytecode"
_MAX_LAYERS = 100  # of earlier builds, 20 MB each
_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs")
"""Certificates of this machine: its registry may be behind a proxy that has its own authority."""


_CONTAIN = """
set -eu
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do mount --bind "${1%%:*}" "$root${1#*:}"; shift; done
shift
user=$1; shift
exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all -- "$@"
"""
"""Runs a command in a tree that is read-only, but for /tmp and volumes, as a user without any capability."""


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
        """Make the image `BASE`, unless an earlier run has: Debian with its python3.

        As in the images of Python, there is no bytecode of its standard library.
        """
        if len(self.run("images", "--all", "--quiet").split()) > _MAX_LAYERS:
            self.run("rmi", "--all", "--force")
        with suppress(BuildahError):
            self.run("inspect", "--type", "image", BASE)
            return
        container = self.run("from", "scratch")
        with tempfile.TemporaryDirectory() as tree:
            _run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", tree], self.environment)
            archive = f"{tree}/base.tar"
            _run(
                [
                    "tar",
                    "--create",
                    "--file",
                    archive,
                    "--directory",
                    tree,
                    "--exclude=./base.tar",
                    "--exclude=__pycache__",
                    ".",
                ],
                self.environment,
            )
            self.run("add", "--quiet", container, archive, "/")
        self.run("commit", "--quiet", "--rm", container, BASE)

    def build(self, tag: str, **arguments: str) -> None:
        """Build deploy/Dockerfile with its build arguments, in the format that has a health check."""
        options = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
        options += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", "--file", "deploy/Dockerfile", "--tag", tag]
        self.run("build", "--layers", "--format", "docker", *options, str(ROOT))

    def contained(self, container: str, *arguments: str, volumes: Mapping[Path, str]) -> list[str]:
        """Return the command that runs the entry point of a container as a hardened runtime does (`_CONTAIN`)."""
        configuration = self.configuration(container, "container")
        user = configuration["User"].partition(":")[0]
        mounts = [f"{path}:{place}" for path, place in volumes.items()]
        run = [user, "env", "--ignore-environment", *configuration["Env"], *configuration["Entrypoint"], *arguments]
        return ["unshare", "--mount", "sh", "-c", _CONTAIN, "sh", self.run("mount", container), *mounts, "--", *run]

    def configuration(self, name: str, kind: str = "image") -> dict[str, Any]:
        """Return the configuration of an image or a container, in Docker's format."""
        inspected: dict[str, Any] = json.loads(self.run("inspect", "--type", kind, name))
        configuration: dict[str, Any] = inspected["Docker"]["config"]
        return configuration


def _run(command: list[str], environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(  # noqa: S603  our own words
        command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode != code:
        raise BuildahError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.rstrip("\n")
