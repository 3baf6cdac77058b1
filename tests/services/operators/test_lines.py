"""Lines as services show them: by whom they are taken, what is wrong with them, and who may see which."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.errors import Conflict, Forbidden, Invalid, NotFound
from relay.linq.api.v3 import ListedLine
from relay.linq.payloads.line_changes import LineChange
from relay.services.account import audit
from relay.services.operators import lines, opt_outs
from relay.services.operators.lines import LineHealth
from relay.store.driver.client import ask
from relay.store.lines.activity import ActivityCounter, LineCounts, Tally
from relay.store.lines.linq_facts import record_changes, record_list
from relay.store.lines.opt_outs import OptOutChange, record_opt_outs
from tests.services.conftest import CRM, LINE, OPERATOR, RULES

if TYPE_CHECKING:
    from relay.services.context import Context

OTHER = "+16465550124"
UNNAMED = "+16465550125"
HOUR_MS = 3_600_000


async def hear(context: Context, line: str, hours_ago: range, count: int = 3) -> None:
    """Record events of a line in these hours before now."""
    counter = ActivityCounter(context.redis)
    for back in hours_ago:
        at_ms = round(time.time() * 1000) - back * HOUR_MS
        counter.add(Tally(at_ms, LineCounts({(line, "inbound"): count})))
        await counter.write(at_once=True)


async def test_line_is_judged_by_its_usual_week(context: Context) -> None:
    await record_list(context.redis, [ListedLine(LINE, "iMessage", "HEALTHY"), ListedLine(OTHER, "RCS")], 1000)
    await hear(context, LINE, range(500, 5, -1))
    await hear(context, OTHER, range(500, 0, -1))
    found = {line.line: line for line in await lines.list_lines(context, OPERATOR)}
    assert {line: each.state for line, each in found.items()} == {LINE: LineHealth.SILENT, OTHER: LineHealth.ACTIVE}
    assert found[LINE].has_rhythm
    assert found[LINE].events_usual_day == pytest.approx(72, abs=3)
    assert found[LINE].events_last_day == pytest.approx(54, abs=3)
    assert (found[LINE].kind, found[LINE].last_outbound_ms) == ("iMessage", None)
    one = await lines.get_line(context, OPERATOR, OTHER)
    assert len(one.days) == 14
    assert one.days[-3].events == 72
    assert one.days[-1].begin_ms <= context.now_ms < one.days[-1].begin_ms + 24 * HOUR_MS


async def test_line_has_the_teams_topics_and_subscriptions_that_take_it(context: Context) -> None:
    await hear(context, UNNAMED, range(1))
    await hear(context, LINE, range(1))
    found = {line.line: line for line in await lines.list_lines(context, OPERATOR)}
    assert (found[LINE].teams, found[LINE].topics, found[LINE].subscriptions) == (
        ("crm",),
        ("support",),
        ("crm-bot", "own-bot"),
    )
    assert (found[UNNAMED].teams, found[UNNAMED].topics) == ((), ())
    [own] = await lines.list_lines(context, CRM)
    assert (own.line, own.teams, own.subscriptions) == (LINE, ("crm",), ("crm-bot",))
    for hidden in (UNNAMED, OTHER, "+1", "account"):
        with pytest.raises(NotFound, match=f'no line ".{hidden[1:]}" .known: .{LINE[1:]}'):
            await lines.get_line(context, CRM, hidden)


async def test_team_sees_every_line_of_a_topic_without_lines(context: Context) -> None:
    await hear(context, UNNAMED, range(1))
    Path("relay.toml").write_text(RULES + '\n[[topics]]\nname = "all"\nevents = ["*"]\n')
    every = Principal("sales token", "sales", EVERY_SCOPE, frozenset({"all"}))
    assert [line.line for line in await lines.list_lines(context, every)] == [UNNAMED]


async def test_flagged_and_released_lines_are_told(context: Context) -> None:
    await hear(context, LINE, range(1))
    now = context.now_ms
    await record_list(context.redis, [ListedLine(LINE), ListedLine(OTHER)], now - 60_000)
    changes = [LineChange(LINE, now, "FLAGGED", "CRITICAL"), LineChange(OTHER, now, is_released=True)]
    await record_changes(context.redis, changes)
    found = {line.line: line for line in await lines.list_lines(context, OPERATOR)}
    assert (found[LINE].state, found[OTHER].state, found[OTHER].released_ms) == (
        LineHealth.FLAGGED,
        LineHealth.RELEASED,
        now,
    )


async def opted_out(context: Context, *handles: str, line: str = LINE) -> None:
    Path("relay.toml").write_text(RULES + "\n[linq]\nopt_outs = true\n")
    changes = [OptOutChange(line, handle, "stop", 1000 + number) for number, handle in enumerate(handles)]
    await record_opt_outs(context.redis, changes, "lease", "token")


async def test_team_asks_whether_its_line_may_write(context: Context) -> None:
    await opted_out(context, "+13035550188", "ann@example.com")
    assert not (await opt_outs.ask(context, CRM, LINE, "+13035550188")).may_write
    assert (await opt_outs.ask(context, CRM, LINE, " Ann@Example.com")).opted_out_ms == 1001
    assert (await opt_outs.ask(context, CRM, LINE, "+13035550189")).may_write
    with pytest.raises(NotFound):
        await opt_outs.ask(context, CRM, OTHER, "+13035550188")
    with pytest.raises(Invalid, match="not a handle"):
        await opt_outs.ask(context, CRM, LINE, "303 555")
    [line] = await lines.list_lines(context, CRM)
    assert line.opt_outs == 2


async def test_opt_outs_are_listed_in_pages(context: Context) -> None:
    handles = [f"+1303555{number:04}" for number in range(7)]
    await opted_out(context, *handles)
    seen, cursor = [], None
    for _ in range(3):
        page = await opt_outs.list_opt_outs(context, CRM, LINE, cursor, 3)
        seen += [each.handle for each in page.items]
        cursor = page.next
    assert (seen, cursor) == (handles, None)
    with pytest.raises(Invalid, match="cursor"):
        await opt_outs.list_opt_outs(context, CRM, LINE, "nonsense!")


async def test_registry_that_is_off_does_not_say_yes(context: Context) -> None:
    with pytest.raises(Conflict, match="opt_outs = true"):
        await opt_outs.ask(context, CRM, LINE, "+13035550188")


async def test_erasure_is_for_operators_and_the_audit_names_no_handle(context: Context) -> None:
    await opted_out(context, "+13035550188")
    for principal in (CRM, replace(OPERATOR, scopes=frozenset({Scope.READ}))):
        with pytest.raises(Forbidden):
            await opt_outs.erase(context, principal, "+13035550188", "asked")
    assert await opt_outs.erase(context, OPERATOR, "+13035550188", "asked") == [LINE]
    assert (await opt_outs.ask(context, CRM, LINE, "+13035550188")).may_write
    [record] = (await audit.search(context, OPERATOR)).items
    assert (record.command, record.target, record.why) == ("opt-outs erase", "a handle", "asked")
    assert await ask(context.redis.keys("*13035550188*")) == []
