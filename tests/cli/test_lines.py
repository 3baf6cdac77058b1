"""`relay lines`: what a person sees of the lines and of opt-outs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.linq.api.v3 import ListedLine
from relay.store.lines.activity import ActivityCounter, LineCounts, Tally
from relay.store.lines.linq_facts import record_list
from relay.store.lines.opt_outs import OptOutChange, record_opt_outs
from tests.building import CUSTOMER, LINE, OTHER_LINE, TWO_TOPICS
from tests.cli.running import main_here

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
async def world(redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is silent after three busy weeks, one that is new, and an opt-out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text("[linq]\nopt_outs = true\n" + TWO_TOPICS)
    await record_list(redis, [ListedLine(LINE, "iMessage", "HEALTHY"), ListedLine(OTHER_LINE, "RCS")], 1000)
    counter = ActivityCounter(redis)
    for back in range(500, 6, -1):
        at_ms = round(time.time() * 1000) - back * HOUR_MS
        counter.add(Tally(at_ms, LineCounts({(LINE, "inbound"): 2})))
        await counter.write(at_once=True)
    await record_opt_outs(redis, [OptOutChange(LINE, CUSTOMER, "stop", 1_789_377_302_000)], "lease", "token")


async def test_lines_are_listed_and_shown() -> None:
    listed = (await main_here("lines", "list", "--utc")).out
    assert "Lines: 2" in listed
    [silent] = [row for row in listed.splitlines() if row.startswith(LINE)]
    assert "silent" in silent
    assert "iMessage" in silent
    [new] = [row for row in listed.splitlines() if row.startswith(OTHER_LINE)]
    assert "never" in new
    shown = (await main_here("lines", "show", LINE, "--utc")).out
    assert "silence is judged by  its usual week" in shown
    assert "topics                messages, everything" in shown
    assert "Events by day (UTC)" in shown
    asked = json.loads((await main_here("lines", "show", LINE, "--json")).out)
    assert (asked["state"], asked["opt_outs"], len(asked["days"])) == ("silent", 1, 14)


async def test_unknown_line_is_refused_with_those_that_exist() -> None:
    refused = await main_here("lines", "show", "+1999")
    assert f'no line "+1999" (known: {LINE}, {OTHER_LINE})' in refused.err


async def test_opt_outs_are_listed_asked_for_and_erased() -> None:
    assert f"{CUSTOMER}  2026-09-14 09:15:02+00:00" in (await main_here("lines", "opt-outs", LINE, "--utc")).out
    asked = await main_here("lines", "opt-outs", LINE, "--handle", CUSTOMER, "--utc")
    assert f"{LINE} must not write to {CUSTOMER}: it has opted out at 2026-09-14 09:15:02+00:00." in asked.out
    assert "may write" in (await main_here("lines", "opt-outs", OTHER_LINE, "--handle", CUSTOMER)).out
    assert f"Erased from 1 line: {LINE}." in (await main_here("lines", "erase", CUSTOMER, "asked to be forgotten")).out
    assert "none" in (await main_here("lines", "opt-outs", LINE)).out
    assert CUSTOMER not in (await main_here("audit")).out
