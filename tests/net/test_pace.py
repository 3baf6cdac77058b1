from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.net.pace import Pace

if TYPE_CHECKING:
    from tests.support import Clock


def test_bytes_beyond_the_burst_wait_for_the_rate(clock: Clock) -> None:
    pace = Pace(100, 50, lambda: clock.now)
    assert [pace.take(size) for size in (50, 20, 30)] == pytest.approx([0, 0.2, 0.5])
    clock.now += 0.5
    assert pace.take(10) == pytest.approx(0.1)


def test_quiet_time_saves_no_more_than_the_burst(clock: Clock) -> None:
    pace = Pace(100, 50, lambda: clock.now)
    clock.now += 3600
    assert [pace.take(size) for size in (50, 1)] == pytest.approx([0, 0.01])
