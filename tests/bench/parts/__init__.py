"""Parts of the bench: each measures one thing and adds rows to the sheet.

A part is a module of this folder with its name, `PART`, and a coroutine function `measure`; nothing else lists it but
the table in README.md.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

    Part = Callable[[Scale, Sheet], Coroutine[None, None, None]]

_MODULES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]

PARTS: dict[str, Part] = {module.PART: module.measure for module in _MODULES}
