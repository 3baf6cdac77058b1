"""Imports that stay as long as the process does, without what libraries import for nothing.

    redis-py     imports PyJWT, and with it all of cryptography, for tokens of Entra ID, which the relay does not use
    structlog    imports rich, if it is there, for tracebacks on a terminal; the relay's logs write them as text
    pydantic     reads the metadata of every installed distribution, for plugins
    prometheus   imports three servers and clients for HTTP, which would expose and push; the relay has its own listener

They take 20 MB, and as much time as redis-py and structlog themselves.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar

from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
else:
    asyncio = LazyModule("asyncio")  # a command that imports this module may need none

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_PAUSE = 0.5  # seconds
_UNUSED = "jwt"
_OPTIONAL = "rich"
_UNUSED_BASES = ("http.server", "wsgiref.simple_server", "urllib.request")
_NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


@contextmanager
def lasting_imports(*, are_lean: bool = False) -> Iterator[None]:
    """Import modules without the garbage collector, and leave what they made out of later collections.

    The collector would go through everything that is already imported again and again, and free next to nothing: a
    third of the CPU time in which a worker starts. With `are_lean`, for processes that only log and have no other
    servers than the relay's, structlog does not find rich, and prometheus-client no HTTP (15 ms of 900).
    """
    os.environ.setdefault(_NO_PLUGINS, "__all__")
    with ExitStack() as stack:
        if gc.isenabled():
            gc.disable()
            stack.callback(_freeze)
        stack.enter_context(_standing_for(_UNUSED, LazyModule(_UNUSED)))
        if are_lean:
            stack.enter_context(_standing_for(_OPTIONAL, None))
            for name in _UNUSED_BASES:
                stack.enter_context(_standing_for(name, _Bases(name)))
        yield


def _freeze() -> None:
    gc.freeze()
    gc.enable()


@contextmanager
def _standing_for(name: str, stand_in: ModuleType | None) -> Iterator[None]:
    """Let `import name` find `stand_in` while the context is open, or fail with None; not if it is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = stand_in  # type: ignore[assignment]  # None: "the import results in a ModuleNotFoundError"
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


class _Bases(ModuleType):
    """A module of empty classes, for classes that are derived and never used."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):  # of the import system
            raise AttributeError(name)
        return type(name, (), {})


async def import_later(name: str) -> None:
    """Import a module that few processes need, in a thread: the event loop runs meanwhile.

    A process that has no descriptor left for the module's file waits for one.
    """
    while name not in sys.modules:
        try:
            await asyncio.to_thread(import_module, name)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                raise
            await asyncio.sleep(_PAUSE)


Part = TypeVar("Part")


class OnFirstUse(Generic[Part]):
    """A part of a process that is made when it is first needed, and its module imported before, in a thread."""

    def __init__(self, module: ModuleType, make: Callable[[], Part]) -> None:
        """`module` is a lazy one, which `make` uses."""
        self._module = module
        self._make = make
        self._part: Part | None = None

    async def get(self) -> Part:
        """Return the part."""
        if self._part is None:
            await import_later(self._module.__name__)
        if self._part is None:
            self._part = self._make()
        return self._part
