"""The image, built and run by buildah: what is in it, what is not, and the whole service running in it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from relay import __version__
from relay.core.secret import new_key
from tests.deploy.buildah import BASE, STORAGE, Buildah, BuildahError
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_tool("buildah"),
    pytest.mark.needs_tool("debootstrap"),
    pytest.mark.timeout(900),
]

IMAGE = f"localhost/linq-relay:{os.getpid()}"
REVISION = "0123abcd"
USER = "65532"
RULES = '[[topics]]\nname = "everything"\nevents = ["*"]\n'
BUILD_TOOLS = ("pip", "pip3", "gcc", "cc", "make", "cyclonedx-py")


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    """Return a buildah whose storage has the image."""
    builder = Buildah(STORAGE)
    try:
        builder.make_base()
    except BuildahError as error:  # this machine's rights, not our image
        pytest.skip(f"missing tool: buildah with the rights to make a base image ({str(error).splitlines()[-1]})")
    builder.build(IMAGE, BASE=BASE, REVISION=REVISION)
    yield builder
    builder.run("rmi", "--force", IMAGE)


@pytest.fixture(scope="module")
def container(buildah: Buildah) -> Iterator[str]:
    """Return a container of the image."""
    name = buildah.run("from", IMAGE)
    yield name
    buildah.run("rm", name)


def test_image_is_described_by_its_labels_and_runs_relay(buildah: Buildah, container: str) -> None:
    configuration = buildah.configuration(IMAGE)
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert configuration["Entrypoint"] == ["relay"]
    assert configuration["User"] == f"{USER}:{USER}"
    assert configuration["Healthcheck"]["Test"] == ["CMD", "relay", "health"]
    said = buildah.run("run", container, "--", "relay", "--version")
    assert said == f"linq-relay {__version__} (revision {REVISION})"


def test_image_has_no_build_tools_and_a_user_that_writes_nowhere(buildah: Buildah, container: str) -> None:
    for tool in BUILD_TOOLS:
        buildah.run("run", container, "--", "sh", "-c", f"command -v {tool}", code=127)
    writable = "find / -xdev -writable ! -type l -not -path '/proc/*' -not -path '/sys/*' -not -path '/dev/*'"
    found = buildah.run("run", container, "--", "sh", "-c", f"{writable} 2>/dev/null || true").splitlines()
    assert set(found) <= {"/tmp", "/var/tmp", "/run/lock", "/var/lib/relay"}  # noqa: S108


_COMPILED = """
import sys
from pathlib import Path
from relay.cli.roles import role_of
role_of(sys.argv[1:])
cached = {name: getattr(module, "__cached__", None) for name, module in sys.modules.items()}
print(*sorted(name for name, path in cached.items() if path and not Path(path).exists()))
"""


@pytest.mark.parametrize("role", ["ingress", "worker"])
def test_role_compiles_nothing_when_it_starts(buildah: Buildah, container: str, role: str) -> None:
    assert buildah.run("run", container, "--", "/opt/relay/bin/python", "-c", _COMPILED, role) == ""


def test_bill_of_materials_lists_what_is_installed(buildah: Buildah, container: str) -> None:
    listed = "from importlib.metadata import distributions as d; print(*sorted(x.name.lower() for x in d()))"
    installed = buildah.run("run", container, "--", "/opt/relay/bin/python", "-c", listed).split()
    bill: dict[str, Any] = json.loads(buildah.run("run", container, "--", "cat", "/opt/relay/sbom.cdx.json"))
    components = [bill["metadata"]["component"], *bill["components"]]
    assert sorted({component["name"].lower() for component in components}) == installed
    locked = {(part["name"], part["version"]) for part in bill["components"]}
    assert any(name == "arq" for name, _ in locked)
    assert all(part.get("purl", "").startswith("pkg:pypi/") for part in bill["components"])


async def test_whole_service_runs_on_a_read_only_file_system(buildah: Buildah, container: str, tmp_path: Path) -> None:
    ports = {name: reserve_port() for name in ("ingress", "admin", "sandbox")}
    url = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    rules, data, log = tmp_path / "rules", tmp_path / "data", tmp_path / "log"
    rules.mkdir()
    (rules / "relay.toml").write_text(RULES, encoding="utf-8")
    data.mkdir()
    os.chown(data, int(USER), int(USER))
    environment = {
        "RELAY_LISTEN": url["ingress"],
        "RELAY_ADMIN_LISTEN": url["admin"],
        "RELAY_PUBLIC_URL": f"http://{url['ingress']}",
        "RELAY_SECRET_KEY": new_key(),
        "LINQ_API_V3_API_KEY": "key",
        "LINQ_API_V3_BASE_URL": f"http://{url['sandbox']}/api/partner",
    }
    buildah.run("config", *(f"--env={name}={value}" for name, value in environment.items()), container)
    volumes = {rules: "/etc/relay", data: "/var/lib/relay"}

    def relay(*arguments: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603  our own words
                buildah.contained(container, *arguments, volumes=volumes), stdout=subprocess.PIPE, stderr=output
            )

    def says(*arguments: str) -> str:
        with relay(*arguments) as process:
            out = process.communicate()[0].decode()
        return out if process.returncode == 0 else ""

    def accepted() -> int:
        ledger: dict[str, Any] = json.loads(says("ledger", "--json") or '{"totals": {"accepted": 0}}')
        return int(ledger["totals"]["accepted"])

    sandbox = relay("sandbox", "--listen", url["sandbox"], "--api-key", "key", "--allow-local", "--rate", "20")
    up = relay("up")
    try:
        address = f"{url['admin']}: ready\n"
        assert await eventually(lambda: says("health", "--ready") == address, timeout=60)
        assert await eventually(lambda: accepted() >= 5, timeout=60)
    finally:
        for process in (sandbox, up):
            process.terminate()
            process.communicate(timeout=30)
        print(log.read_text())  # noqa: T201  shown if the test fails
    assert up.returncode == 0, log.read_text()
    assert '"event":"worker.stopped"' in log.read_text()
