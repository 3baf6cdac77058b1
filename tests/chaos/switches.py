"""Switches that faults turn on and the subscribers' process reads: files in the directory of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "hostile"
"""The hostile team breaks HTTP."""
HOLD = "hold"
"""The far teams hold their responses."""


def switch(home: Path, name: str) -> Path:
    """Return the file that exists while the switch is on."""
    return home / f"{name}.on"
