"""The sweep of lanes while the rules change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from relay.store import wakeups
from relay.store.isolation import Isolation
from tests.workers.conftest import rules_for
from workers.maintenance import lane_sweep
from workers.maintenance.lane_sweep import LaneSweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink


@pytest.mark.parametrize("step", ["lane_names", "look_at_lanes"])
async def test_lane_that_is_removed_during_a_sweep_is_left_out(
    redis: Redis, rules: ConfigFile, rules_file: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The end of a deliver job looks at its lanes by newer rules, at one step of the sweep."""
    sweep = LaneSweep(redis, rules, time.time, Isolation(redis))
    original: Callable[..., Awaitable[Iterable[str]]] = getattr(lane_sweep, step)

    async def changing(*arguments: object, **options: object) -> Iterable[str]:
        found = await original(*arguments, **options)
        monkeypatch.setattr(lane_sweep, step, original)
        rules_file.write_text(rules_for(sink).replace('name = "bot"', 'name = "other-bot"'))
        rules.reload()
        await sweep.check_partition(wakeups.partition_of("crm"))
        return found

    monkeypatch.setattr(lane_sweep, step, changing)
    await sweep.run()
    was_created = step == "look_at_lanes"  # by the former rules
    assert await redis.exists(redis.key.lane("bot")) == was_created
    assert await redis.exists(redis.key.lane("crm"))
    await sweep.run()
    assert await redis.exists(redis.key.lane("other-bot"))
