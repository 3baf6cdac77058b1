"""`relay bootstrap adopt`: a subscription that was made by other means, and its secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.bootstrap.ownership.adoption import adopt
from relay.bootstrap.plan import Action
from relay.core.errors import LinqApiError, StoreError
from relay.core.secret import SigningSecret
from tests.bootstrap.bench import ASKED_FOR, LINES_ONLY, PUBLIC, TOPICS, Bench, bench_of, refuse
from tests.sandbox.running import LINE, LINES, OTHER_LINE

if TYPE_CHECKING:
    from aiohttp import web

    from relay.bootstrap.ownership.adoption import Adoption
    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox
    from tests.support import Clock

ELSEWHERE = "https://team.example.com/hook"
REST = f'{LINES_ONLY}exclude = ["{LINE}"]\n{TOPICS}'


async def adopted(bench: Bench, made: Any, line: str | None = None) -> Adoption:
    return await adopt(bench.account, made.id, line, SigningSecret(made.signing_secret), lambda _: None)


@pytest.mark.parametrize(
    ("url", "generation"),
    [
        (ELSEWHERE, 1),
        (f"{PUBLIC}/webhooks/linq?line=16465550123&gen=4&team=blue", 4),
        (f"{PUBLIC}/webhooks/linq?version=2025-01-01&line=16465550124&gen=4", 1),
        (f"{PUBLIC}/webhooks/linq/?line=16465550123", 1),
    ],
)
async def test_adopted_one_is_the_subscription_of_its_line(bench: Bench, url: str, generation: int) -> None:
    made = await bench.sandbox.subscribe(url, "call.ended", lines=[LINE])
    adoption = await adopted(bench, made)
    assert (adoption.line, adoption.generation, adoption.former_url) == (LINE, generation, url)
    there = bench.sandbox.sandbox.state.subscriptions[made.id]
    assert there.target_url == adoption.target_url == await bench.url(LINE, generation)
    assert (set(there.events), there.phone_numbers) == (ASKED_FOR, [LINE])
    assert await bench.secrets() == {made.id: made.signing_secret}
    kept = [step for step in await bench.plan() if step.line == LINE]
    assert [(step.action, step.subscription_id) for step in kept] == [(Action.KEEP, made.id)]


async def test_secret_is_stored_before_anything_changes(bench: Bench) -> None:
    made = await bench.sandbox.subscribe(ELSEWHERE, lines=[LINE])

    async def refuse_change(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PUT":
            assert await bench.secrets() == {made.id: made.signing_secret}
        response: web.StreamResponse | None = await refuse("PUT")(request)
        return response

    bench.sandbox.intercept = refuse_change
    with pytest.raises(LinqApiError, match="updating the subscription"):
        await adopted(bench, made)
    bench.sandbox.intercept = None
    assert bench.at_linq() == {made.id: ELSEWHERE}
    adoption = await adopted(bench, made)
    assert (adoption.generation, bench.at_linq()) == (1, {made.id: await bench.url(LINE, 1)})


async def test_subscription_of_every_line_needs_one_and_the_others_served(
    bench: Bench, sandbox: RunningSandbox, redis: Redis, clock: Clock
) -> None:
    made = await sandbox.subscribe(ELSEWHERE)
    with pytest.raises(StoreError, match="is for every line; choose with --line"):
        await adopted(bench, made)
    with pytest.raises(StoreError, match=f"also serves \\{OTHER_LINE}, .*exclude"):
        await adopted(bench, made, LINE)
    await bench_of(sandbox, redis, clock, REST).apply()
    assert (await adopted(bench, made, LINE)).line == LINE
    assert {step.action for step in await bench.plan() if step.line} == {Action.KEEP}


async def test_what_cannot_be_adopted_is_refused(bench: Bench) -> None:
    elsewhere = await bench.sandbox.subscribe(ELSEWHERE, lines=[LINE])
    await bench.apply()
    ours = next(iter(await bench.secrets()))
    secret = SigningSecret("whsec_AAAA")
    bench.sandbox.calls.clear()
    for subscription_id, line, message in (
        ("s-0", None, "no webhook subscription s-0"),
        (ours, None, "is ours already"),
        (elsewhere.id, None, "has subscription .* already"),
        (elsewhere.id, OTHER_LINE, f"is filtered by \\{LINE}, not \\{OTHER_LINE}"),
    ):
        with pytest.raises(StoreError, match=message):
            await adopt(bench.account, subscription_id, line, secret, lambda _: None)
    assert bench.sandbox.changes == []
    assert len(await bench.secrets()) == len(LINES)
