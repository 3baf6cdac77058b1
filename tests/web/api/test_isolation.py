"""Nothing of another team: each operation is tried with the other team's ids, and with ids that do not exist.

Both answers must be the same but for the ids that the request itself had, so that a token cannot even learn what there
is. An operation that is added is tried without being named here; it fails if it has a required field without a value.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.access.scopes import Scope
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.rules.current import Rules
from relay.services.context import Context
from relay.web.api.app import api_app
from relay.web.api.operation import EVENT_STREAM, JSON_LINES, Operation
from relay.web.api.operations import OPERATIONS
from tests.web.api.world import BLUE, GONE, KEY, LINES, OPTED_OUT, RED, RULES, World, seeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.support import Clock

REQUIRED = {
    "why": "a test",
    "name": "red-new",
    "url": "http://127.0.0.1:9/",
    "topics": ["red-topic"],
    "label": "a test",
    "scopes": ["read"],
    "receipts": ["1-0.1"],
    "visibility": "60s",
    "handle": "+13035550188",
    "type": "message.received",
}
"""Values of required fields that are no ids."""
SPECIAL: dict[str, dict[str, Any]] = {
    "seek_group": {"to": "start"},
    "acknowledge_events": {"up_to": "1-0.1"},
    "retry_quarantine": {"all": True},
    "drop_quarantine": {"all": True},
}
"""Values of optional fields that an operation needs."""
LOOKS = [
    each
    for each in OPERATIONS
    if each.scope in {None, Scope.READ} and each.method == "GET" and each.media_type != EVENT_STREAM
]
OPTIONAL_IDS = {"subscription", "team", "topic", "ids"}


@asynccontextmanager
async def world(
    redis: Redis, redis_url: str, clock: Clock, tmp_path: Path, then: str = RULES
) -> AsyncIterator[tuple[World, Any]]:
    """Serve the API to two teams, with the rules `then` once they have everything; yield the world and a session."""
    rules = tmp_path / "relay.toml"
    rules.write_text(RULES)
    settings = Settings(
        redis_url=redis_url, relay_config=rules, relay_secret_key=SecretStr(KEY), relay_api_rate=100_000
    )
    context = Context(settings, redis, Rules(settings, redis, clock), clock)
    found = await seeded(context)
    rules.write_text(then)
    async with (
        listening(api_app(context), Listen(host="127.0.0.1", port=0)) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        yield found, http


def values(operation: Operation, part: str, ids: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a request with the ids of a team wherever it can have some."""
    model = operation.inputs.get(part)
    if model is None:
        return {}
    found = {}
    for name, each in model.model_fields.items():
        if name in ids and (each.is_required() or name in OPTIONAL_IDS):
            found[name] = ids[name]
        elif each.is_required():
            found[name] = REQUIRED[name]
    return found | (SPECIAL.get(operation.id, {}) if part == "body" else {})


async def ask(http: Any, operation: Operation, token: str, ids: dict[str, Any]) -> tuple[int, str]:
    path = operation.path
    for name, value in values(operation, "path", ids).items():
        path = path.replace(f"{{{name}}}", str(value))
    query = values(operation, "query", ids)
    body = values(operation, "body", ids) if "body" in operation.inputs else None
    headers = {"Authorization": f"Bearer {token}", "If-Match": "*", "X-Request-Id": "same"}
    async with http.request(operation.method, path, params=query, json=body, headers=headers) as response:
        return response.status, await response.text()


def blurred(text: str, ids: dict[str, Any]) -> str:
    """Return a text without the ids of a request."""
    for value in sorted((value for value in ids.values() if isinstance(value, str)), key=len, reverse=True):
        text = text.replace(value, "?")
    return text


def has_ids(operation: Operation) -> bool:
    """Return True if a request of an operation can name things of a team."""
    return any(OPTIONAL_IDS & model.model_fields.keys() for model in operation.inputs.values())


def has_no_items(text: str) -> bool:
    return not text or json.loads(text).get("items") == []


async def test_nothing_of_another_team_can_be_seen_or_changed(
    redis: Redis, redis_url: str, clock: Clock, tmp_path: Path
) -> None:
    async with world(redis, redis_url, clock, tmp_path) as (found, http):
        before = {key: await redis.dump(key) for key in await redis.keys("*blue*")}
        for operation in OPERATIONS:
            status, text = await ask(http, operation, found.tokens["team"], found.ids[BLUE])
            other = await ask(http, operation, found.tokens["team"], found.ids[GONE])
            assert (status, blurred(text, found.ids[BLUE])) == (other[0], blurred(other[1], found.ids[GONE])), (
                f"{operation.id} tells what exists: {text} {other}"
            )
            assert BLUE not in blurred(text, found.ids[BLUE]), operation.id
            assert OPTED_OUT[BLUE] not in text, operation.id
            if "path" in operation.inputs:
                assert status == (403 if operation.is_for_operators else 404), (operation.id, text)
            elif has_ids(operation):
                assert status in {403, 404, 422} or has_no_items(text), (operation.id, text)
        assert {key: await redis.dump(key) for key in await redis.keys("*blue*")} == before


async def test_a_team_sees_its_own(redis: Redis, redis_url: str, clock: Clock, tmp_path: Path) -> None:
    async with world(redis, redis_url, clock, tmp_path) as (found, http):
        seen = {}
        for operation in OPERATIONS:
            if operation in LOOKS and not operation.is_for_operators:
                status, seen[operation.id] = await ask(http, operation, found.tokens["team that reads"], found.ids[RED])
                assert status in {200, 409}, (operation.id, seen[operation.id])
        report = next(operation for operation in LOOKS if operation.id == "get_shadow_report")
        ids = found.ids[RED] | {"subscription": f"{RED}-shadow"}
        shadow = (await ask(http, report, found.tokens["team that reads"], ids))[1]
        for operation in OPERATIONS:
            if operation.scope not in {None, Scope.READ}:
                status, text = await ask(http, operation, found.tokens["team that reads"], found.ids[RED])
                assert status == 403, (operation.id, text)
    for name in ("list_topics", "list_subscriptions", "list_dead_letters", "list_attempts", "list_groups"):
        assert len(json.loads(seen[name])["items"]) >= 1, name
    assert [each["name"] for each in json.loads(seen["list_subscriptions"])["items"]] == [
        "red-hook",
        "red-shadow",
        "red-stored",
    ]
    assert [each["line"] for each in json.loads(seen["list_lines"])["items"]] == [LINES[RED]]
    assert [each["handle"] for each in json.loads(seen["list_opt_outs"])["items"]] == [OPTED_OUT[RED]]
    assert json.loads(shadow)["original"] == f"{RED}-hook"
    assert {each["team"] for each in json.loads(seen["list_tokens"])["items"]} == {RED}


@pytest.mark.parametrize("token", ["operator", "operator who reads"])
async def test_an_operator_sees_every_team(
    token: str, redis: Redis, redis_url: str, clock: Clock, tmp_path: Path
) -> None:
    async with world(redis, redis_url, clock, tmp_path) as (found, http):
        for operation in OPERATIONS:
            if operation in LOOKS:
                for team in (RED, BLUE):
                    status, text = await ask(http, operation, found.tokens[token], found.ids[team])
                    assert status in {200, 409}, (operation.id, text)
                    assert operation.media_type == JSON_LINES or json.loads(text)


async def test_subscriptions_come_in_pages(redis: Redis, redis_url: str, clock: Clock, tmp_path: Path) -> None:
    async with world(redis, redis_url, clock, tmp_path) as (found, http):
        headers = {"Authorization": f"Bearer {found.tokens['operator']}"}
        names: list[str] = []
        query: dict[str, str] | None = {"limit": "2"}
        while query is not None:
            page = await (await http.get("/subscriptions", params=query, headers=headers)).json()
            assert len(page["items"]) <= 2
            names += [each["name"] for each in page["items"]]
            query = {"limit": "2", "cursor": page["next"]} if page["next"] else None
        wrong = await http.get("/subscriptions", params={"cursor": "é"}, headers=headers)
    assert names == [
        *("blue-hook", "blue-shadow", "blue-stored", "red-hook", "red-shadow", "red-stored", "removed-hook")
    ]
    assert wrong.status == 422
