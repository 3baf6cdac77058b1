"""Modules that are imported when they are first used: a process starts without what most processes never need.

    if TYPE_CHECKING:
        from workers.maintenance import retention
    else:
        retention = LazyModule("workers.maintenance.retention")

So the import is at the top of its file, and the type checker and import-linter see it as any other. The first attribute
that is read imports the module, in the thread that reads it; an event loop runs meanwhile if
`relay.process.imports.import_later` is awaited first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A module that is imported when an attribute of it is read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of the import system
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
