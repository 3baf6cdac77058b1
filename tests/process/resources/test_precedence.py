"""Workers and the admin role give way: a running one, and the artefacts that give it a weight."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from relay.config.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
FIFTH = pytest.approx(0.2, abs=0.02)
AUTOGROUP = Path("/proc/self/autogroup")
SHOW = """
import os
from pathlib import Path
from relay.process.resources.precedence import give_way
give_way(7)
print(os.nice(0), Path("/proc/self/autogroup").read_text())
"""
INSIDE = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"
"""Runs a command in the session of this one."""


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="the kernel does not group by session")
@pytest.mark.parametrize(("command", "of_session"), [((), 7), (("-c", INSIDE, sys.executable), 0)])
def test_a_session_of_its_own_is_nice_too(command: tuple[str, ...], of_session: int) -> None:
    started = [sys.executable, *command, "-c", SHOW]
    output = subprocess.run(started, cwd=ROOT, start_new_session=True, capture_output=True, check=True).stdout  # noqa: S603  our own code
    said = re.fullmatch(r"(\d+) /autogroup-\d+ nice (-?\d+)\s*", output.decode())
    assert said is not None, output
    assert int(said[1]) == min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    assert int(said[2]) == of_session


def test_every_artefact_gives_a_worker_and_the_admin_role_a_fifth() -> None:
    """By the niceness of the default, `CPUWeight` of 100, `cpu_shares` of 1024, and the requests of the chart."""
    nice = Settings.model_fields["relay_worker_nice"].default
    assert 1 / 1.25**nice == FIFTH  # a step of niceness is a quarter
    for name in ("worker@", "admin"):
        unit = (DEPLOY / f"systemd/linq-relay-{name}.service").read_text()
        weight = re.search(r"^CPUWeight=(\d+)$", unit, re.MULTILINE)
        assert weight is not None
        assert int(weight[1]) / 100 == FIFTH
    assert "CPUWeight" not in (DEPLOY / "systemd/linq-relay-ingress.service").read_text()
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("worker", "admin"):
        assert services[name]["cpu_shares"] / services["ingress"].get("cpu_shares", 1024) == FIFTH
    values = yaml.safe_load((DEPLOY / "chart/values.yaml").read_text())
    worker, ingress = (values[role]["resources"]["requests"]["cpu"] for role in ("worker", "ingress"))
    assert int(worker.removesuffix("m")) / int(ingress.removesuffix("m")) == FIFTH
