"""Jobs of the page: a team's share of those that run, and of those that are remembered."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import NotFound, TooMany
from relay.web.pages.jobs import Job, Jobs


def principal(team: str | None, name: str = "ann") -> Principal:
    return Principal(f"{name} of {team}", team, EVERY_SCOPE)


async def test_a_team_leaves_turns_and_results_to_the_others() -> None:
    jobs, goes_on = Jobs(), asyncio.Event()

    async def work(_: Job) -> int:
        await goes_on.wait()
        return 1

    for name in ("ann", "bob"):
        jobs.start("Replay", principal("crm", name), "/dead", work)
    with pytest.raises(TooMany, match="2 jobs of the team crm run already"):
        jobs.start("Replay", principal("crm", "eve"), "/dead", work)
    other, operators = jobs.start("Replay", principal("erp"), "/dead", work), principal(None)
    first = jobs.start("Drop", operators, "/dead", work)
    goes_on.set()
    for _ in range(40):
        await asyncio.sleep(0)
        jobs.start("Replay", principal("crm"), "/dead", work)
    assert jobs.get(other.id, principal("erp")).result == 1
    assert jobs.get(first.id, operators).result == 1
    with pytest.raises(NotFound):
        jobs.get(first.id, principal("crm"))
    await jobs.stop(web.Application())
