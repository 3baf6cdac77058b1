from __future__ import annotations

import asyncio

import pytest

from relay.process.time_limit import TimeLimit
from tests.support import eventually


async def test_late_operation_is_cancelled_and_raises_timeout_error() -> None:
    limit, cancelled = TimeLimit(0.01), asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError), limit:
        await hang()
    assert cancelled.is_set()


async def test_operations_of_several_tasks_each_have_their_own_time() -> None:
    limit, release = TimeLimit(0.2), asyncio.Event()

    async def operation(waited_for: asyncio.Event) -> str:
        try:
            with limit:
                await waited_for.wait()
        except TimeoutError:
            return "late"
        return "in time"

    late = [asyncio.create_task(operation(asyncio.Event())) for _ in range(2)]
    in_time = asyncio.create_task(operation(release))
    await asyncio.sleep(0)
    release.set()
    assert await in_time == "in time"
    assert await asyncio.gather(*late) == ["late", "late"]


async def test_limit_counts_anew_for_each_operation_of_a_task() -> None:
    loop, limit = asyncio.get_running_loop(), TimeLimit(0.1)
    began, rounds = loop.time(), 0
    while loop.time() - began < 0.25:  # its timer fires meanwhile
        with limit:
            await asyncio.sleep(0)
        rounds += 1
    assert rounds > 1


async def test_cancellation_from_outside_stays_one() -> None:
    limit = TimeLimit(60)

    async def operation() -> None:
        with limit:
            await asyncio.Event().wait()

    task = asyncio.create_task(operation())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_from_outside_wins_over_a_timeout() -> None:
    limit = TimeLimit(0.01)
    timed_out = asyncio.Event()

    async def operation() -> None:
        with limit:
            try:
                await asyncio.Event().wait()
            finally:
                timed_out.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(operation())
    await eventually(timed_out.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="other"), TimeLimit(60):
        raise ValueError("other")
