"""A terminal wide enough that nothing is folded, rules in a file, and a port without a listener."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import RULES
from tests.sandbox.running import closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 columns, no colours."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def rules() -> Path:
    """relay.toml in the working directory, with two topics."""
    path = Path("relay.toml")
    path.write_text(RULES)
    return path


@pytest.fixture
def no_redis() -> Iterator[str]:
    """A REDIS_URL without a Redis."""
    with closed_port() as port:
        yield f"redis://127.0.0.1:{port}/0"
