from __future__ import annotations

import asyncio

import pytest

from relay.store.driver.batcher import Batcher


def batcher(send: object, max_items: int = 100, max_bytes: int = 10_000) -> Batcher[str, str]:
    return Batcher(send, size_of=len, max_items=max_items, max_bytes=max_bytes)  # type: ignore[arg-type]


class Echo:
    """A batch handler that returns each item in capitals, once released."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()

    async def __call__(self, items: list[str]) -> list[str]:
        self.batches.append(items)
        await self.open.wait()
        return [item.upper() for item in items]


async def test_lone_item_is_sent_at_once() -> None:
    echo = Echo()
    echo.open.set()
    async with batcher(echo) as lone:
        assert await lone.submit("a") == "A"
    assert echo.batches == [["a"]]


async def test_item_that_lingers_is_sent_with_one_in_a_hurry_or_later() -> None:
    echo = Echo()
    echo.open.set()
    async with Batcher(echo, size_of=len, max_items=3, max_bytes=100, linger=0.01) as slow:
        patient = slow.submit("a", lingers=True)
        await asyncio.sleep(0)
        assert not echo.batches
        assert await slow.submit("b") == "B"
        assert await patient == "A"
        assert await slow.submit("c", lingers=True) == "C"
    assert echo.batches == [["a", "b"], ["c"]]


async def test_items_that_arrive_during_a_batch_share_the_next() -> None:
    echo = Echo()
    async with batcher(echo) as shared:
        first = shared.submit("a")
        while not echo.batches:
            await asyncio.sleep(0)
        others = [shared.submit(letter) for letter in "bcd"]
        await asyncio.sleep(0)
        echo.open.set()
        assert await asyncio.gather(first, *others) == ["A", "B", "C", "D"]
    assert echo.batches == [["a"], ["b", "c", "d"]]


async def test_batches_are_bounded_by_count_and_by_bytes() -> None:
    echo = Echo()
    echo.open.set()
    async with batcher(echo, max_items=2, max_bytes=10) as bounded:
        items = ["a", "b", "c", "x" * 9, "y" * 9, "z" * 50]
        assert await asyncio.gather(*map(bounded.submit, items)) == [item.upper() for item in items]
    assert [len(batch) for batch in echo.batches] == [2, 2, 1, 1]


async def test_failure_reaches_all_waiting_items_and_none_later() -> None:
    gate = asyncio.Event()
    calls = 0

    async def send(items: list[str]) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await gate.wait()
            raise OSError("no")
        return items

    async with batcher(send) as failing:
        early = [failing.submit("a")]
        while not calls:
            await asyncio.sleep(0)
        early.append(failing.submit("b"))
        await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*early, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no", "no"]
        assert await failing.submit("c") == "c"


async def test_cancelled_caller_does_not_disturb_the_others() -> None:
    echo = Echo()
    async with batcher(echo) as left:
        leaving, staying = left.submit("a"), left.submit("b")
        while not echo.batches:
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        echo.open.set()
        assert await staying == "B"


async def test_leaving_the_context_cancels_waiting_callers() -> None:
    echo = Echo()
    async with batcher(echo) as closed:
        waiting = closed.submit("a")
        while not echo.batches:
            await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_expired_item_times_out_and_is_not_sent() -> None:
    echo = Echo()
    async with Batcher[str, str](echo, size_of=len, max_items=2, max_bytes=100, max_wait=0.1) as batches:
        first = batches.submit("a")
        while not echo.batches:
            await asyncio.sleep(0)
        late = [batches.submit(letter) for letter in "bc"]
        await asyncio.sleep(0.15)
        in_time = batches.submit("d")
        await asyncio.sleep(0)
        echo.open.set()
        assert (await first, await in_time) == ("A", "D")
        for task in late:
            with pytest.raises(TimeoutError):
                await task
    assert echo.batches == [["a"], ["d"]]


async def test_burst_is_split_when_two_batches_can_be_in_flight() -> None:
    echo = Echo()
    numbers = [str(number) for number in range(100)]
    async with Batcher(echo, size_of=len, max_items=1000, max_bytes=10_000, max_in_flight=2) as batches:
        wave = [batches.submit(number) for number in numbers]
        while len(echo.batches) < 2:
            await asyncio.sleep(0)
        echo.open.set()
        assert await asyncio.gather(*wave) == numbers
    assert [len(batch) for batch in echo.batches] == [50, 50]


async def test_small_burst_is_not_split() -> None:
    echo = Echo()
    echo.open.set()
    async with Batcher(echo, size_of=len, max_items=1000, max_bytes=10_000, max_in_flight=2) as batches:
        await asyncio.gather(*(batches.submit(letter) for letter in "abcdefgh"))
    assert [len(batch) for batch in echo.batches] == [8]


async def test_small_batch_beside_one_in_flight_waits_for_it_or_for_more() -> None:
    echo = Echo()
    async with Batcher(
        echo, size_of=len, max_items=1000, max_bytes=10_000, max_in_flight=2, min_beside=3, linger=60
    ) as batches:
        wave = [batches.submit("a")]
        while not echo.batches:
            await asyncio.sleep(0)
        wave += [batches.submit("b"), batches.submit("c")]
        for _ in range(5):
            await asyncio.sleep(0)
        assert echo.batches == [["a"]]
        wave.append(batches.submit("d"))
        while len(echo.batches) < 2:
            await asyncio.sleep(0)
        wave.append(batches.submit("e"))
        patient = batches.submit("f", lingers=True)
        echo.open.set()
        assert await asyncio.gather(*wave, patient) == ["A", "B", "C", "D", "E", "F"]
        last = batches.submit("g", lingers=True)
        for _ in range(5):
            await asyncio.sleep(0)
    assert echo.batches == [["a"], ["b", "c", "d"], ["e", "f"]]
    assert last.cancelled()
