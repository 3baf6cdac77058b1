"""`relay token` and `relay teams`: a token is printed once and alone, and what was done is in the audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.cli.operator import operator
from relay.core.access.token_text import parse_token
from relay.core.event_filter import EventFilter
from relay.store import audit
from tests.cli.running import RULES, main_here

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

TEAM = '\n[[teams]]\nname = "crm"\ntopics = ["support"]\n'


@pytest.fixture(autouse=True)
def _rules(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES + TEAM)


async def test_token_is_printed_alone_and_then_only_listed() -> None:
    made = await main_here("token", "create", "ci", "--team", "crm", "--scope", "read", "--scope", "subscribe")
    token = parse_token(made.out.strip())
    assert token is not None
    assert f"ci ({token.id}) of team crm: read subscribe; ends in 90d." in made.err
    listed = await main_here("token", "list")
    assert token.secret not in listed.out
    header, row = listed.out.splitlines()[1:3]
    assert row.split() == [token.id, "ci", "crm", "read", "subscribe", "in", "90d", "never"]
    assert max(map(len, (header, row))) <= 80
    operators = (await main_here("token", "create", "ann", "--expires", "never", "--json")).json
    assert (operators["team"], operators["scopes"], operators["expires_ms"]) == (None, ["read"], None)
    assert [each["label"] for each in (await main_here("token", "list", "--team", "crm", "--json")).json] == ["ci"]


async def test_token_is_rotated_and_revoked(redis: Redis) -> None:
    token = parse_token((await main_here("token", "create", "ci", "--scope", "read")).out.strip())
    assert token is not None
    rotated = await main_here("token", "rotate", token.id, "--overlap", "1h", "--why", "yearly")
    assert parse_token(rotated.out.strip()) != token
    assert "The former secret is accepted for 1h more." in rotated.err
    assert (await main_here("token", "revoke", token.id, "--why", "leaked")).out == f"ci ({token.id}) is revoked.\n"
    assert "revoked" in (await main_here("token", "list")).out
    refused = await main_here("token", "rotate", token.id)
    assert (refused.code, refused.err) == (1, f"ci ({token.id}) is revoked; create another one\n")
    found = [(each.command, each.why, each.who, each.source) async for each in audit.records(redis, EventFilter())]
    assert found == [
        ("token revoke", "leaked", operator(), "cli"),
        ("token rotate", "yearly", operator(), "cli"),
        ("token create", "", operator(), "cli"),
    ]


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("token create ci --team none", 1, 'no team "none"'),
        ("token create ci --expires 30", 2, '"30" is not a duration'),
        ("token create ci --expires 10s", 1, "lifetime: it must be from 1m to 3650d"),
        ("token create ci --scope write", 2, "'write' is not one of 'read', 'subscribe', 'replay', 'admin'"),
        ("token revoke none", 1, 'no token "none"'),
        ("teams create crm --topic support", 1, 'the team "crm" is in relay.toml; it can only be made there'),
        ("teams create ops --topic sales", 1, 'there is no topic "sales" (topics: everything, support)'),
        ("teams create ops", 1, "the list is empty; name at least one topic"),
        ("teams change ops", 2, "give --topic, --contact, or both"),
        ("teams delete ops", 1, 'no team "ops" (known: none)'),
    ],
)
async def test_mistake_is_named(redis: Redis, line: str, code: int, message: str) -> None:
    said = await main_here(*line.split())
    assert said.code == code
    assert message in " ".join(said.err.replace("│", " ").split())
    assert await redis.keys() == []


async def test_team_is_made_changed_and_deleted() -> None:
    assert (await main_here("teams", "create", "ops", "--topic", "support", "--contact", "#ops")).code == 0
    changed = await main_here("teams", "change", "ops", "--topic", "*")
    assert changed.out == "The team ops is changed; its topics: *.\n"
    listed = (await main_here("teams", "list")).out.splitlines()
    assert [row.split() for row in listed[2:4]] == [
        ["crm", "support", "relay.toml", "0", "0"],
        ["ops", "*", "#ops", "API", "0", "0"],
    ]
    assert max(map(len, listed)) <= 80
    assert (await main_here("teams", "delete", "ops", "--why", "merged")).code == 0
    assert [team["name"] for team in (await main_here("teams", "list", "--json")).json] == ["crm"]
