from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import suppress

import pytest

import relay.process.event_loop
from relay.process.tasks import end_task, in_background
from tests.garbage import ignore_former_objects


async def forever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def broken() -> None:
    raise ValueError("broken")


async def test_background_result_can_be_awaited() -> None:
    async def answer() -> int:
        return 42

    async with in_background(answer()) as task:
        assert await task == 42


async def test_task_is_cancelled_when_the_body_fails() -> None:
    ended: list[str] = []

    async def fail_beside_it() -> None:
        async with in_background(forever(ended)):
            await asyncio.sleep(0)
            await broken()

    with pytest.raises(ValueError, match="broken"):
        await fail_beside_it()
    assert ended == ["ended"]


async def test_cleanup_of_a_cancelled_task_is_completed() -> None:
    ended: list[str] = []

    async def closes_slowly() -> None:
        try:
            await forever(ended)
        finally:
            await asyncio.sleep(0.15)  # as a connection on a busy machine
            ended.append("closed")

    async with in_background(closes_slowly()):
        await asyncio.sleep(0)
    task = asyncio.create_task(closes_slowly())
    await asyncio.sleep(0)
    await end_task(task)
    assert ended == ["ended", "closed"] * 2


async def test_error_is_raised_where_the_result_is_awaited() -> None:
    with pytest.raises(ValueError, match="broken"):
        async with in_background(broken()) as task:
            await task


async def test_unawaited_failure_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    async with in_background(broken()):
        await asyncio.sleep(0)
    assert caplog.records == []


def test_lost_cancellation_does_not_keep_a_command_running(monkeypatch: pytest.MonkeyPatch) -> None:
    async def loses_cancellation() -> None:
        with suppress(asyncio.CancelledError):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(30)
        await asyncio.sleep(30)

    monkeypatch.setattr(relay.process.event_loop, "_CLEANUP_TIMEOUT", 0.05)
    with pytest.raises(KeyboardInterrupt):
        relay.process.event_loop.run(loses_cancellation())


async def test_task_that_fails_after_the_end_of_its_scope_was_cancelled_is_not_reported() -> None:
    ignore_former_objects()
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    began, cleans_up, may_fail = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def fail_late() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            cleans_up.set()
            await may_fail.wait()
            await broken()

    async def wait_beside_it() -> None:
        async with in_background(fail_late()):
            await asyncio.Event().wait()

    scope = asyncio.create_task(wait_beside_it())
    await began.wait()
    scope.cancel()
    await cleans_up.wait()
    scope.cancel()
    await asyncio.wait({scope})
    may_fail.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del scope  # with its traceback, which has the task
    gc.collect()
    assert not reported
