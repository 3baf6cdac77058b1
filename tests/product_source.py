"""The source of the product, each file read and parsed once for all tests of a process that look at it."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("relay", "workers")


@cache
def texts() -> dict[str, str]:
    """Return the text of each Python file of the product, by its path."""
    files = sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def parsed(below: str = "") -> dict[str, tuple[str, ast.Module]]:
    """Return text and tree of each Python file of the product whose path begins with `below`, by its path.

    The garbage collector waits meanwhile: half a million nodes that stay would cost it twice the time of parsing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return {name: (text, _tree_of(name)) for name, text in texts().items() if name.startswith(below)}
    finally:
        if was_enabled:
            gc.enable()


@cache
def _tree_of(name: str) -> ast.Module:
    return ast.parse(texts()[name])
