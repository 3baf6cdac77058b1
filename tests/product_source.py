"""The source of the product, read and parsed once for all tests of a process that look at it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("relay", "workers")


@cache
def parsed() -> dict[str, tuple[str, ast.Module]]:
    """Return text and tree of each Python file of the product, by its path."""
    files = sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    return {name: (text, ast.parse(text)) for name, text in texts.items()}
