"""A process that is killed at a step of a growth: `python -m tests.journeys.dying "before the end" relay shards apply`.

The kill comes from the process itself, so that it is at that very step; SIGKILL leaves no time for anything else.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.services.operators import growth
from relay.store.sharding.growth import completion, fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    Call = Callable[..., Awaitable[Any]]


class Step(NamedTuple):
    """The call of a function that is the last one of the process."""

    module: ModuleType
    function: str
    is_done: bool
    """True if it is killed after the call, False if before."""


STEPS = {
    "before the copies": Step(growth, "copy_all", is_done=False),
    "between two copies": Step(completion, "copy_backfilled", is_done=False),
    "before the decision": Step(growth, "decide", is_done=False),
    "after the decision": Step(growth, "decide", is_done=True),
    "after the first fence": Step(fence, "_advance", is_done=True),
    "between the last copies": Step(completion, "create_pull_groups", is_done=False),
    "before the end": Step(completion, "open_lanes", is_done=True),
}


def dying(call: Call, *, is_done: bool) -> Call:
    """Return the call that kills the process."""

    async def die(*arguments: Any) -> Any:
        if is_done:
            await call(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


if __name__ == "__main__":
    at, program, *arguments = sys.argv[1:]
    step = STEPS[at]
    setattr(step.module, step.function, dying(getattr(step.module, step.function), is_done=step.is_done))
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
