"""The revision: from the environment, from the build, from a checkout, or unknown."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from relay.process import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a package of its own, without a revision."""
    package = tmp_path / "relay"
    package.mkdir()
    monkeypatch.setattr(build, "_PACKAGE", package)
    monkeypatch.setattr(build, "_FILE", package / "_revision.txt")
    monkeypatch.delenv("RELAY_REVISION", raising=False)
    return package


def revision() -> str:
    return build.revision.__wrapped__()


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603  our own words


def test_revision_comes_from_the_nearest_source(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert revision() == "unknown"
    git(package.parent, "init", "--quiet")
    assert revision() == "unknown"  # no commit yet
    git(package.parent, "commit", "--quiet", "--allow-empty", "--message", "x")
    head = git(package.parent, "rev-parse", "HEAD")
    assert revision() == head
    (package / "_revision.txt").write_text("built\n")
    assert revision() == "built"
    monkeypatch.setenv("RELAY_REVISION", "given")
    assert revision() == "given"
