"""Processes that serve, started without what reads command lines: typer takes a tenth of their start and memory.

`relay ingress` and `relay worker` as one process, as units and containers run them. With other options they are
commands as all others (`relay.cli.serve`).
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from relay.cli.failures import reported
from relay.cli.interrupts import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ROLES: Mapping[tuple[str, ...], tuple[str, dict[str, bool]]] = {
    ("ingress",): ("relay.web.server", {}),
    ("ingress", "--share-port"): ("relay.web.server", {"share_port": True}),
    ("ingress", "--processes", "1"): ("relay.web.server", {}),
    ("worker",): ("workers.runtime.role", {}),  # this process becomes it: nothing of the relay knows workers
    ("worker", "--processes", "1"): ("workers.runtime.role", {}),
}
"""The module of each, whose `run_role` runs it with these options."""


def role_of(arguments: Sequence[str]) -> Callable[[], int] | None:
    """Import the role of a command line, and return what runs it and returns the exit code; None for other commands."""
    found = _ROLES.get(tuple(arguments))
    if found is None:
        return None
    module, options = found
    with importing(are_lean=True):
        run_role = import_module(module).run_role
    return partial(reported, partial(run_role, **options))
