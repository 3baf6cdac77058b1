"""Parts of the bench: each measures one thing and adds rows to the sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.parts import (
    accept,
    backlog,
    isolation,
    latency,
    lists,
    pull,
    push,
    redis_cost,
    route,
    saturated,
    start,
    streams,
    through,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

    Part = Callable[[Scale, Sheet], Coroutine[None, None, None]]

PARTS: dict[str, Part] = {
    module.PART: module.measure
    for module in (
        accept,
        route,
        push,
        through,
        latency,
        pull,
        redis_cost,
        backlog,
        isolation,
        saturated,
        start,
        streams,
        lists,
    )
}
