"""The sample consumers of `deploy/samples`, each against a relay's topic: what `deploy/docs/pull.md` promises holds."""

from __future__ import annotations

import signal
import time
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.samples.languages import LANGUAGES, Language
from tests.samples.members import DEAD, GROUP, STREAM, Member, Stage, open_stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.background, pytest.mark.timeout(180)]  # the first test builds
MAX_LINES = 60
PARAMETERS = [pytest.param(language, id=language.name) for language in LANGUAGES]
NEEDING_TOOLS = [
    pytest.param(language, id=language.name, marks=pytest.mark.needs_tool(language.tool)) for language in LANGUAGES
]


@pytest.fixture(params=NEEDING_TOOLS)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    language: Language = request.param
    language.built()
    async with open_stage(tmp_path, language) as stage:
        yield stage


def deliveries_of(*members: Member) -> dict[str, int]:
    """Return the last delivery count of each event that a handler got."""
    return {event.id: event.deliveries for event in chain(*(member.begun for member in members))}


@pytest.mark.parametrize("language", PARAMETERS)
def test_files_are_short(language: Language) -> None:
    assert language.sources
    for file in language.sources:
        lines = [line.expandtabs(4) for line in file.read_text().splitlines()]
        assert len(lines) <= MAX_LINES, f"{file}: {len(lines)} lines"
        assert max(map(len, lines)) <= 110, f"{file}: a line is longer than 110 columns"


@pytest.mark.parametrize("language", PARAMETERS)
def test_readme_says_what_each_file_does(language: Language) -> None:
    readme = (language.sources[0].parent / "README.md").read_text()
    assert [file.name for file in language.sources if f"| `{file.name}` | " not in readme] == []


async def test_member_takes_all_in_order_and_leaves(stage: Stage) -> None:
    events = await stage.feed(*["chat"] * 35)
    member = await stage.start("a")
    await eventually(lambda: len(member.done) == 35)
    later = await stage.feed("chat")
    await eventually(lambda: len(member.done) == 36)
    member.signal(signal.SIGTERM)
    assert await member.ended() == 0
    assert member.ids == member.done == events + later
    assert set(deliveries_of(member).values()) == {1}
    [group] = await stage.redis.xinfo_groups(STREAM)
    assert (group["pending"], group["consumers"]) == (0, 0)
    assert await stage.place() == group["last-delivered-id"].decode()


async def test_killed_member_loses_nothing(stage: Stage) -> None:
    events = await stage.feed("chat", "hold", *["chat"] * 6)
    first = await stage.start("a")
    await eventually(lambda: len(first.begun) == 2)
    first.signal(signal.SIGKILL)
    await first.ended()
    second = await stage.start("a")  # under the same name: at once
    await eventually(lambda: len(second.begun) == 1)
    second.signal(signal.SIGKILL)
    await second.ended()
    stage.release.touch()
    third = await stage.start("b", claim_after=0.5)  # under another: after claim_after
    await eventually(lambda: len(third.done) == 7)
    assert first.ids == events[:2]
    assert second.ids == events[1:2]
    assert [event for event in third.ids if event != events[1]] == events[2:]
    assert deliveries_of(third) == {events[1]: 3} | dict.fromkeys(events[2:], 2)  # not delivered again with it
    await eventually(stage.is_idle)


async def test_stopped_member_hands_back_at_once(stage: Stage) -> None:
    events = await stage.feed("hold", *["chat"] * 6)
    first = await stage.start("a")
    await eventually(lambda: first.begun)
    second = await stage.start("b")
    await eventually(stage.is_waiting)
    first.signal(signal.SIGTERM)
    await eventually(lambda: len(second.done) == 6)
    assert not first.done  # it is still at work
    stage.release.touch()
    assert await first.ended() == 0
    assert second.ids == events[1:]
    assert set(deliveries_of(second).values()) == {1}  # what was not begun does not count
    assert first.ids == first.done == events[:1]
    await eventually(stage.is_idle)
    assert "a" not in await stage.consumers()


async def test_slow_handler_keeps_its_events(stage: Stage) -> None:
    events = await stage.feed("hold", "chat")
    first = await stage.start("a", claim_after=3)  # renewed every second: a busy machine may be late by two
    await eventually(lambda: first.begun)
    second = await stage.start("b", claim_after=3)
    await eventually(stage.is_waiting)
    await eventually(lambda: time.monotonic() > first.begun[0].at + 5)
    stage.release.touch()
    await eventually(lambda: len(first.done) == 2)
    assert first.ids == events
    assert second.ids == []


async def test_event_received_over_http_keeps_its_timeout(stage: Stage) -> None:
    await stage.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    events = await stage.feed(*["chat"] * 3)
    for visibility in (600_000, 200, 600_000):
        await stage.redis.xreadgroup(GROUP, f"relay:http:{visibility}:mobile", {STREAM: ">"}, count=1)
    [last] = await stage.feed("chat")
    member = await stage.start("a", claim_after=0.3)
    await eventually(lambda: len(member.done) == 2)
    assert set(member.done) == {events[1], last}
    assert await stage.consumers() | {"a": 0} == {"relay:http:600000:mobile": 2, "relay:http:200:mobile": 0, "a": 0}


async def test_event_trimmed_while_pending_is_told(stage: Stage) -> None:
    await stage.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    events = await stage.feed(*["chat"] * 4)
    await stage.redis.xreadgroup(GROUP, "dead", {STREAM: ">"})
    oldest = (await stage.redis.xrange(STREAM))[0][0]
    await stage.redis.xtrim(STREAM, maxlen=3, approximate=False)
    member = await stage.start("a", claim_after=0.1)
    await eventually(lambda: len(member.done) == 3)
    assert member.ids == events[1:]
    await eventually(lambda: f"{oldest.decode()} was trimmed" in member.said)
    await eventually(stage.is_idle)


async def test_events_trimmed_before_they_were_read_are_told(stage: Stage) -> None:
    await stage.feed(*["chat"] * 2)
    member = await stage.start("a")
    await eventually(lambda: len(member.done) == 2)
    member.signal(signal.SIGTERM)
    await member.ended()
    events = await stage.feed(*["chat"] * 5)
    await stage.redis.xtrim(STREAM, maxlen=2, approximate=False)
    member = await stage.start("a")
    await eventually(lambda: len(member.done) == 2)
    assert member.ids == events[3:]
    await eventually(lambda: "3 events were trimmed before they were read" in member.said)
    await stage.feed("chat")
    await eventually(lambda: len(member.done) == 3)
    assert member.said.count("were trimmed before") == 1


async def test_lost_group_is_made_again_at_its_place(stage: Stage) -> None:
    await stage.feed("chat", "chat")
    member = await stage.start("a")
    await eventually(lambda: len(member.done) == 2)
    member.signal(signal.SIGTERM)  # notes the place
    await member.ended()
    member = await stage.start("a")
    await eventually(stage.is_waiting)
    await stage.redis.xgroup_destroy(STREAM, GROUP)
    events = await stage.feed("chat", "chat")
    await eventually(lambda: len(member.done) == 2)
    assert member.ids == events
    assert f'made the group "{GROUP}" at ' in member.said


async def test_restart_of_redis_is_waited_out(stage: Stage) -> None:
    events = await stage.feed("chat", "hold", "chat", "chat")
    member = await stage.start("a")
    await eventually(lambda: len(member.begun) == 2)
    await stage.server.kill()
    stage.release.touch()
    await eventually(lambda: len(member.done) == 2)
    await stage.server.start()
    events += await stage.feed("chat")
    await eventually(lambda: set(member.done) == set(events))
    assert list(dict.fromkeys(member.ids)) == events  # in order; the second may come twice
    await eventually(stage.is_idle)


async def test_events_that_cannot_be_handled_are_dead_letters(stage: Stage) -> None:
    crash, *others, reject, fail = await stage.feed("crash", *["chat"] * 3, "reject", "fail")
    members: list[Member] = []
    while len(await stage.dead()) < 3:
        members.append(await stage.start("a", claim_after=0.3, MAX_DELIVERIES="3"))
        await eventually(lambda: _has_ended_or_buried(stage, members[-1]))
    dead = {letter["id"]: letter for letter in await stage.dead()}
    assert [event.deliveries for member in members for event in member.begun if event.id == crash] == [1, 2, 3]
    assert dead.keys() == {crash, reject, fail}
    told = {name: dead[crash][name] for name in ("dead_reason", "dead_error", "dead_deliveries", "dead_member")}
    assert told == {"dead_reason": "max_deliveries", "dead_error": "", "dead_deliveries": "3", "dead_member": "a"}
    assert dead[reject]["dead_reason"] == "rejected"
    assert dead[fail]["dead_error"] == "the handler failed"
    assert dead[fail]["dead_deliveries"] == "3"
    [entry] = [entry for entry, fields in await stage.redis.xrange(STREAM) if fields[b"id"].decode() == crash]
    assert dead[crash]["dead_entry"] == entry.decode()
    assert dead[crash].keys() >= {"type", "line", "chat", "at", "version", "body", "dead_at"}
    assert set(others) <= set(members[-1].done)
    assert max(deliveries_of(*members)[event] for event in others) <= 2
    await eventually(stage.is_idle)


async def _has_ended_or_buried(stage: Stage, member: Member) -> bool:
    return member.process.returncode is not None or await stage.redis.xlen(DEAD) == 3


async def test_what_no_retry_can_change_ends_it(stage: Stage) -> None:
    unknown = await stage.start("a", TOPIC="suport")
    locked_out = await stage.start("b", REDIS_URL=stage.server.url.replace("//", "//team:wrong@"))
    reserved = await stage.start("c", GROUP="push:bot")
    for member in (unknown, locked_out, reserved):
        assert await member.ended() == 1
    await eventually(lambda: 'no topic "suport" (known: support)' in unknown.said)
    await eventually(lambda: "WRONGPASS" in locked_out.said)
    await eventually(lambda: "GROUP" in reserved.said)
