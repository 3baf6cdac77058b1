"""Changes that a slip of the client must not make, and mistakes that are named at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.api.test_isolation import world
from tests.web.api.world import RED, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.support import Clock


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("dead-letters/replay", "team"),
        ("dead-letters/drop", "team"),
        ("quarantine/retry", "operator"),
        ("quarantine/drop", "operator"),
    ],
)
async def test_everything_is_changed_only_if_it_is_asked_for(
    path: str, token: str, redis: Redis, redis_url: str, clock: Clock, tmp_path: Path
) -> None:
    async with world(redis, redis_url, clock, tmp_path) as (found, http):
        head = {"Authorization": f"Bearer {found.tokens[token]}"}
        bare = await http.post(f"/{path}", json={"why": "a slip"}, headers=head)
        problem = await bare.json(content_type=None)
        chosen = await http.post(f"/{path}", json={"why": "a test", "since": "1h"}, headers=head)
        everything = await http.post(f"/{path}", json={"why": "a test", "all": True, "dry_run": True}, headers=head)
    assert (bare.status, chosen.status, everything.status) == (422, 200, 200)
    assert 'or "all": true' in problem["detail"]


async def test_mistakes_of_a_new_subscription_are_all_named(
    redis: Redis, redis_url: str, clock: Clock, tmp_path: Path
) -> None:
    draft = {"name": "no spaces", "topic": f"{RED}-topic", "url": "ftp://a", "retry": ["5x"], "timeuot": "3s"}
    async with world(redis, redis_url, clock, tmp_path) as (found, http):
        head = {"Authorization": f"Bearer {found.tokens['team']}"}
        answer = await http.post("/subscriptions", json=draft, headers=head)
        problem = await answer.json(content_type=None)
    assert answer.status == 422
    assert {error["field"] for error in problem["errors"]} == {"name", "url", "retry.0", "timeuot"}


async def test_an_exclusive_topic_answers_409_to_a_second_one(
    redis: Redis, redis_url: str, clock: Clock, tmp_path: Path
) -> None:
    draft = {"name": "second", "topic": f"{RED}-topic", "url": "http://127.0.0.1:9/second"}
    exclusive = RULES.replace("events =", "exclusive = true\nevents =")
    async with world(redis, redis_url, clock, tmp_path, exclusive) as (found, http):
        answers = {}
        for who in ("team", "operator"):
            head = {"Authorization": f"Bearer {found.tokens[who]}"}
            answer = await http.post("/subscriptions", json=draft, headers=head)
            answers[who] = answer.status, (await answer.json(content_type=None))["detail"]
        head = {"Authorization": f"Bearer {found.tokens['team']}"}
        shadow = {"name": "next", "shadow_of": f"{RED}-hook", "url": "http://127.0.0.1:9/next"}
        made = await http.post("/subscriptions", json=shadow, headers=head)
    for status, detail in answers.values():
        assert (status, f'the topic "{RED}-topic" is exclusive' in detail) == (409, True), detail
    assert f'delivered to "{RED}-hook" already, so "second" cannot have it' in answers["team"][1]
    assert made.status == 201
