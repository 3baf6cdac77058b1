"""The systemd units: without mistakes, hardened, and run by a real systemd that forbids all that they say."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from relay.core.secret import new_key
from tests.deploy.booted import ROOT, Booted, booted
from tests.docs.pages import page
from tests.sandbox.running import API_KEY, running_sandbox
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relay.store.driver.client import Redis

pytestmark = pytest.mark.needs_tool("systemd-analyze")

UNITS = ROOT / "deploy" / "systemd"
SERVICES = ("ingress.service", "worker@1.service", "admin.service", "bootstrap.service")
MAX_EXPOSURE = 2.0
RULES = '[[topics]]\nname = "everything"\nevents = ["*"]\n'


def analyze(units: Path, *arguments: str) -> str:
    """Run systemd-analyze with the units of a directory; return its output."""
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    done = subprocess.run(  # noqa: S603  our own words
        ["systemd-analyze", *arguments],  # noqa: S607
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that exists here."""
    copies = tmp_path / "units"
    shutil.copytree(UNITS, copies)
    (tmp_path / "relay").symlink_to("/bin/true")
    for unit in copies.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/linq-relay/bin/relay", str(tmp_path / "relay")))
    return copies


def test_units_have_no_mistakes(units: Path) -> None:
    files = ["linq-relay.target", *(f"linq-relay-{service}" for service in SERVICES)]
    assert analyze(units, "verify", "--man=no", *(str(units / file) for file in files)) == ""


@pytest.mark.parametrize("service", SERVICES)
def test_services_are_hardened(units: Path, service: str) -> None:
    said = analyze(
        units,
        "security",
        "--offline=true",
        f"--threshold={MAX_EXPOSURE * 10:.0f}",
        str(units / f"linq-relay-{service}"),
    )
    [exposure] = re.findall(r"exposure level for \S+: ([\d.]+)", said)
    assert float(exposure) <= MAX_EXPOSURE


def commands_of_the_page(start: str) -> str:
    """Return the lines of deploying.md that start so, as root types them."""
    lines = page("deploying.md").text.splitlines()
    return "\n".join(line.removeprefix("sudo ") for line in lines if line.startswith(start))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A systemd with our units; it may write the log of each to a file."""
    logs = tmp_path_factory.mktemp("logs")
    with booted(logs) as machine:
        machine.run(f"cd /run/source && {commands_of_the_page('sudo cp')}")
        machine.write(
            "/etc/systemd/system/linq-relay-.service.d/test.conf",
            f"[Service]\nStandardOutput=append:{logs}/%n.log\nStandardError=inherit\n"
            "Environment=LD_LIBRARY_PATH=/run/python/lib PYTHONPATH=/run/source:/run/packages",
        )
        machine.write("/etc/linq-relay/relay.toml", RULES)
        machine.run(commands_of_the_page("sudo systemctl daemon-reload"))
        yield machine


async def has_stopped(machine: Booted, unit: str) -> str:
    """Wait until a unit is inactive or failed, and return which: a target's parts stop after it."""
    state = ""

    def ended() -> bool:
        nonlocal state
        state = machine.show(unit, "ActiveState")["ActiveState"]
        return state in {"inactive", "failed"}

    assert await eventually(ended), machine.log()
    return state


@pytest.mark.background
@pytest.mark.slow
async def test_units_register_lines_and_route_events(machine: Booted, redis: Redis, redis_url: str) -> None:
    async with running_sandbox() as sandbox:
        listen = f"127.0.0.1:{reserve_port()}"
        environment = {
            "REDIS_URL": redis_url,
            "RELAY_LISTEN": listen,
            "RELAY_PUBLIC_URL": f"http://{listen}",
            "RELAY_SECRET_KEY": new_key(),
            "LINQ_API_V3_API_KEY": API_KEY,
            "LINQ_API_V3_BASE_URL": sandbox.base_url,
        }
        machine.write("/etc/linq-relay/env", "".join(f"{name}={value}\n" for name, value in environment.items()))
        await asyncio.to_thread(machine.run, commands_of_the_page("sudo systemctl enable"))
        await sandbox.emit()
        assert await eventually(lambda: redis.xlen(redis.key.topic("everything"))), machine.log()

        await asyncio.to_thread(machine.run, "systemctl stop linq-relay.target")
    for role in ("linq-relay-ingress", "linq-relay-worker@1", "linq-relay-admin", "linq-relay-bootstrap"):
        assert await has_stopped(machine, role) == "inactive"
        assert machine.show(role, "Result", "NRestarts") == {"Result": "success", "NRestarts": "0"}, machine.log()
    assert '"event":"worker.stopped"' in machine.log()


@pytest.mark.background
@pytest.mark.slow
async def test_wrong_environment_is_not_retried(machine: Booted) -> None:
    machine.write("/etc/linq-relay/env", "REDIS_URL=redis://127.0.0.1:1/0\n")
    machine.run("systemctl start linq-relay-ingress")
    assert await has_stopped(machine, "linq-relay-ingress") == "failed"
    assert machine.show("linq-relay-ingress", "NRestarts", "ExecMainStatus") == {
        "NRestarts": "0",
        "ExecMainStatus": "2",
    }
    assert "RELAY_SECRET_KEY" in machine.log()
