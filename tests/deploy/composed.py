"""compose.yaml as data, and its services as processes: each with the command, environment and health check of its own.

They share a network namespace without anything else in it, where the names of services lead to loopback, so that ports
and URLs are those of the file.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dotenv import dotenv_values

from relay.process.embedded_redis import server_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "deploy" / "compose.yaml"
_ADMIN_PORTS = {"ingress": 8081, "worker": 8082, "admin": 8083}
_HEALTH_CHECK = ("CMD", "relay", "health")
"""That of the image (`test_image`)."""
_TIMEOUT = 60.0
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")
_SETUP = """
set -eu
mount --make-rprivate /
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/etc /run/work /run/bin /run/data
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work overlay /etc
for name in {names}; do echo "127.0.0.1 $name" >>/etc/hosts; done
mkdir -p /etc/relay
mount --bind {configuration} /etc/relay
mkdir /run/checkout
mount --bind {checkout} /run/checkout
mount -t tmpfs tmpfs /tmp
mkdir -p {checkout}  # where it is in /tmp
mount --bind /run/checkout {checkout}
ln -s {server} /run/bin/valkey-server
ln -s {client} /run/bin/valkey-cli
echo ready
exec sleep infinity
"""
"""Commands of the namespace: its first process."""


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Return a text of compose.yaml with its variables replaced, as `docker compose` does it."""

    def value(match: re.Match[str]) -> str:
        dollar, name, operator, rest = match.groups()
        if dollar:
            return "$"
        given = variables.get(name, "")
        if operator == "?" and not given:
            raise ValueError(f"{name}: {rest}")
        return given or (rest or "" if operator == "-" else given)

    return _VARIABLE.sub(value, text)


def services(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the services of compose.yaml, with variables replaced."""

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return interpolated(value, variables)
        if isinstance(value, list):
            return [replaced(each) for each in value]
        return {key: replaced(each) for key, each in value.items()} if isinstance(value, dict) else value

    found: dict[str, Any] = replaced(yaml.safe_load(FILE.read_text())["services"])
    return found


@dataclass(slots=True)
class Composed:
    """The services, in their namespace."""

    pid: int
    services: Mapping[str, Any]
    log: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, name: str, *command: str) -> list[str]:
        """Return the command that runs a command in a container of a service."""
        service = self.services[name]
        files = [dotenv_values(FILE.parent / path) for path in service.get("env_file", ())]
        # Of the image; containers have a port 8081 each, and here they have one network.
        image = {
            "RELAY_CONFIG": "/etc/relay/relay.toml",
            "RELAY_ADMIN_LISTEN": f"0.0.0.0:{_ADMIN_PORTS.get(name, 8081)}",
        }
        path = f"/run/bin:{sys.prefix}/bin:/usr/bin:/bin"
        variables = {"PATH": path, **image}
        for more in (*files, service.get("environment", {})):
            variables |= more
        enter = [
            "nsenter",
            f"--target={self.pid}",
            "--net",
            "--mount",
            "env",
            "--ignore-environment",
            "--chdir=/run/data",
        ]
        return [*enter, *(f"{key}={value}" for key, value in variables.items()), *command]

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service."""
        command = self.services[name]["command"]
        entry = [] if command[0] == "sh" else ["relay"]
        with self.log.open("ab") as output:
            self.processes[name] = subprocess.Popen(  # noqa: S603  our own words
                self.command(name, *entry, *command), stdout=output, stderr=output
            )
        return self.processes[name]

    def execute(self, name: str, *command: str) -> str:
        """Run a command as `docker compose exec` does it; return its output, empty if it failed."""
        done = subprocess.run(self.command(name, *command), text=True, capture_output=True, check=False)  # noqa: S603
        return done.stdout if done.returncode == 0 else ""

    def becomes_healthy(self, name: str) -> bool:
        """Run the health check of a service, its own or that of the image, until it passes; False if it does not."""
        kind, *command = self.services[name].get("healthcheck", {}).get("test", _HEALTH_CHECK)
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            done = subprocess.run(self.command(name, *command), capture_output=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return True
            time.sleep(0.5)  # a check costs a second of CPU on a busy machine
        return False

    def stop(self) -> dict[str, int]:
        """Stop all as `docker compose down` does it; return their exit codes."""
        for process in reversed(self.processes.values()):
            process.terminate()
            process.wait(30)
        return {name: process.returncode for name, process in self.processes.items()}


@contextmanager
def composed(variables: Mapping[str, str], log: Path) -> Iterator[Composed]:
    """Yield the services of compose.yaml, none of them started. Skip the test where there may be no namespace."""
    found = services(variables)
    client = shutil.which("valkey-cli") or shutil.which("redis-cli")
    configuration = FILE.parent / found["ingress"]["volumes"][0].split(":")[0]
    words = {"checkout": ROOT, "configuration": configuration, "server": server_program(), "client": client}
    script = _SETUP.format(names=" ".join(found), **{name: shlex.quote(str(word)) for name, word in words.items()})
    with subprocess.Popen(  # noqa: S603  our own words
        ["unshare", "--net", "--mount", "sh", "-c", script],  # noqa: S607
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if not holder.stdout.readline():
            pytest.skip(f"missing tool: unshare with the rights to use it ({holder.stderr.read().decode().strip()})")
        running = Composed(holder.pid, found, log)
        try:
            yield running
        finally:
            for process in running.processes.values():
                process.kill()
                process.wait()
            holder.kill()
