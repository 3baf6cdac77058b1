"""A real systemd that runs the units: pid 1 of namespaces of its own, on this machine's files and network.

It sees this machine's tree with another `/etc`, `/run` and `/opt`, and no unit but those of the test. The relay in
`/opt/linq-relay` is this checkout. All processes end with their pid 1.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent.parent
_TARGETS = ("sysinit", "basic", "shutdown", "umount", "final", "network-online", "multi-user", "none")
"""Targets that units have by default; here they start nothing."""
_START_TIMEOUT = 20.0
_PACKAGES = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
_CGROUP = "linq-relay-test"

_ENTER_CGROUP = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount -t cgroup2 cgroup2 /run/cgroup
mkdir -p /run/cgroup/{cgroup}
echo $$ >/run/cgroup/{cgroup}/cgroup.procs
umount /run/cgroup
exec unshare --mount --pid --fork --uts --ipc --cgroup --kill-child sh -c {boot}
"""
_BOOT = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/etc /run/work /run/units /run/python /run/source /run/packages
mount --bind {python} /run/python
mount --bind {source} /run/source
mount --bind {packages} /run/packages
for target in {targets}; do printf '[Unit]\\nDefaultDependencies=no\\n' >/run/units/$target.target; done
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work overlay /etc
mount -t tmpfs tmpfs /opt
mkdir -p /opt/linq-relay/bin /etc/linq-relay
printf '#!/bin/sh\\nexec /run/python/bin/python3 -m relay "$@"\\n' >/opt/linq-relay/bin/relay
chmod +x /opt/linq-relay/bin/relay
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t proc proc /proc
mount --bind /dev/null /dev/console
export SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units container=lxc
exec /lib/systemd/systemd --system --unit=none.target --log-target=null --show-status=no
"""
_CLEAN = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/cgroup
mount -t cgroup2 cgroup2 /run/cgroup
find /run/cgroup/{cgroup} -depth -type d -exec rmdir {{}} +
"""


class BootError(Exception):
    """A systemd that cannot be started, or a command in it that failed."""


@dataclass(frozen=True, slots=True)
class Booted:
    """A running systemd."""

    pid: int
    logs: Path
    """Directory with the output of each unit."""

    def run(self, command: str, code: int = 0) -> str:
        """Run a shell command beside the systemd; return its output."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--cgroup", "--wd=/"]
        done = subprocess.run(  # noqa: S603  our own words
            [*enter, "sh", "-c", command],
            env={**os.environ, "SYSTEMD_PAGER": ""},
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode != code:
            raise BootError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}{self.log()}")
        return done.stdout.rstrip("\n")

    def write(self, path: str, text: str) -> None:
        """Write a file in its tree."""
        self.run(f"mkdir -p {Path(path).parent} && cat >{path} <<'END'\n{text}\nEND\n")

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run(f"systemctl show {unit} --property={','.join(properties)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def log(self) -> str:
        """Return the end of the output of all units."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.logs.glob("*.log")))


@contextmanager
def booted(logs: Path) -> Iterator[Booted]:
    """Run a systemd without units; files of its tree are written by `write`. Skip the test where it may not be run."""
    cgroup = f"{_CGROUP}-{os.getpid()}"
    names: Mapping[str, object] = {"python": sys.base_prefix, "source": ROOT, "packages": _PACKAGES}
    boot = _BOOT.format(targets=" ".join(_TARGETS), **{name: shlex.quote(str(path)) for name, path in names.items()})
    script = _ENTER_CGROUP.format(cgroup=cgroup, boot=shlex.quote(boot))
    outer = subprocess.Popen(  # noqa: S603  our own words
        ["unshare", "--mount", "sh", "-c", script],  # noqa: S607
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        try:
            machine = Booted(_first_process(outer), logs)
            machine.run("until test -S /run/systemd/private; do sleep 0.05; done")
        except BootError as error:
            pytest.skip(f"missing tool: systemd with the rights to run it ({str(error).splitlines()[-1]})")
        yield machine
    finally:
        with suppress(ProcessLookupError):
            os.kill(_child(outer.pid) or outer.pid, signal.SIGKILL)
        outer.communicate(timeout=10)
        clean = ["unshare", "--mount", "sh", "-c", _CLEAN.format(cgroup=cgroup)]
        subprocess.run(clean, capture_output=True, check=False)  # noqa: S603  our own words


def _first_process(outer: subprocess.Popen[bytes]) -> int:
    """Return the pid of the systemd that runs below `outer`."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and outer.poll() is None:
        child = _child(outer.pid)
        with suppress(OSError):
            if child and Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        time.sleep(0.02)
    outer.kill()
    raise BootError((outer.communicate()[1].decode() or "systemd did not start").strip())


def _child(pid: int) -> int:
    with suppress(OSError):
        return int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or ["0"])[0])
    return 0
