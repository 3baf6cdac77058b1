"""Two teams with everything that a team can have, and a token of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.contracts.facts import Pair, Tally
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.secret import new_key
from relay.services.account.tokens import create_token, revoke_token
from relay.services.deliveries import replays, stored_subscriptions
from relay.store.contracts.contracts import Contracts, Known
from relay.store.driver.client import ask
from relay.store.lanes.lane import Lane
from relay.store.lines.line_keys import LineKeys
from relay.store.topics.replays import Replays, State
from tests.building import body_of
from tests.cli.attempting import BAD, GOOD, remember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.services.context import Context
    from relay.store.driver.client import Redis

KEY = new_key()
KNOWN = Known(frozenset({"message.received"}), frozenset({"2026-02-03"}))
RED, BLUE, GONE = "red", "blue", "gone"
"""The two teams, and one that does not exist."""
LINES = {RED: "+16465550101", BLUE: "+16465550102"}
OPTED_OUT = {RED: "+13035550111", BLUE: "+13035550122"}
"""A handle that has opted out of the line of each team."""
OPERATOR = Principal("alice@host", None, EVERY_SCOPE)

RULES = "[linq]\nopt_outs = true\n" + "".join(
    f"""
[[topics]]
name = "{team}-topic"
events = ["*"]
lines = ["{line}"]

[[subscriptions]]
name = "{team}-hook"
topic = "{team}-topic"
team = "{team}"
url = "http://127.0.0.1:9/{team}"
secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

[[subscriptions]]
name = "{team}-shadow"
shadow_of = "{team}-hook"
compare = "body"
url = "http://127.0.0.1:9/{team}-shadow"
secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

[[teams]]
name = "{team}"
topics = ["{team}-topic"]
contact = "#{team}"
egress = ["127.0.0.1"]
"""
    for team, line in LINES.items()
)
REMOVED = "removed-hook"
"""A subscription that the rules no longer have."""


@dataclass(slots=True)
class World:
    """The tokens, and the ids of each team's things by the names of parameters."""

    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, dict[str, Any]] = field(default_factory=dict)


async def seeded(context: Context) -> World:
    """Fill an empty Redis."""
    world = World()
    for team in (RED, BLUE):
        world.ids[team] = await _team(context, team)
    world.ids[GONE] = {
        name: value.replace(BLUE, GONE) if isinstance(value, str) else value for name, value in world.ids[BLUE].items()
    } | {
        "line": "+16465550199",
        "letter": "1-1",
        "replay": "0" * 8,
        "token": "0" * 12,
        "event": "00000000-0000-4000-8000-000000000000",
    }
    await _bury(context.redis, REMOVED, f"{RED}-topic", "removed-event")
    await Contracts(context.redis).add({Pair("message.received", "2026-02-03"): Tally(1)}, KNOWN, context.now_ms)
    body = {"at": str(context.now_ms), "dialect": "v3", "line": "", "reason": "no event_id", "body": "{}"}
    entry = (await context.redis.xadd(context.redis.key.quarantine, body)).decode()  # type: ignore[arg-type]
    for ids in world.ids.values():
        ids["entry"] = entry
    kinds: tuple[tuple[str, str | None, Iterable[Scope]], ...] = (
        ("operator", None, EVERY_SCOPE),
        ("operator who reads", None, {Scope.READ}),
        ("team", RED, EVERY_SCOPE),
        ("team that reads", RED, {Scope.READ}),
    )
    for label, owner, scopes in kinds:
        world.tokens[label] = await _token(context, label, owner, scopes)
    world.tokens["revoked"] = await _token(context, "revoked", RED, EVERY_SCOPE, is_revoked=True)
    world.tokens["none"] = ""
    return world


async def _token(
    context: Context, label: str, team: str | None, scopes: Iterable[Scope], *, is_revoked: bool = False
) -> str:
    made = await create_token(context, OPERATOR, label, team=team, scopes=scopes)
    if is_revoked:
        await revoke_token(context, OPERATOR, made.token.id)
    return made.text


async def _team(context: Context, team: str) -> dict[str, Any]:
    redis, topic, hook, pull = context.redis, f"{team}-topic", f"{team}-hook", f"{team}.pull"
    event = f"{'1' if team == RED else '2'}0000000-0000-4000-8000-00000000000a"
    fields: dict[Any, Any] = {
        "id": event,
        "type": "message.received",
        "line": "+16465550101",
        "chat": f"{team}-chat",
        "message": f"{team}-message",
        "at": str(context.now_ms),
        "version": "2026-02-03",
        "body": body_of(event_id=event, id=f"{team}-message", text=f"{team} confidential"),
    }
    entry = (await redis.xadd(redis.key.topic(topic), fields)).decode()
    await redis.sadd(redis.key.topics, topic)  # type: ignore[misc]
    await redis.xgroup_create(redis.key.topic(topic), pull, "0")
    letter = await _bury(redis, hook, topic, event)
    dead: dict[Any, Any] = {"dead_entry": entry, "dead_at": str(context.now_ms), "dead_reason": "rejected"}
    await redis.xadd(redis.key.group_dead(topic, pull), fields | dead, id=letter)
    attempt = GOOD._replace(event_id=event, topic=topic, entry=entry, chat=f"{team}-chat")
    await remember(redis, hook, attempt)
    await remember(redis, hook, BAD._replace(event_id=event, topic=topic, chat=f"{team}-chat"), f"{team} failed")
    await ask(redis.zadd(LineKeys(redis).opt_outs(LINES[team]), {OPTED_OUT[team]: context.now_ms}))
    owner = Principal(f"{team}-owner", team, EVERY_SCOPE, frozenset({topic}), token=None)
    table = {"name": f"{team}-stored", "topic": topic, "team": team, "url": f"http://127.0.0.1:9/{team}"}
    await stored_subscriptions.create(context, owner, table)
    started = await replays.start(context, owner, replays.Request(topic, hook), "a test")
    await Replays(redis).end(started.id, State.DONE, "", context.now_ms)
    running = await replays.start(context, owner, replays.Request(topic, hook), "a test")
    token = await create_token(context, OPERATOR, f"{team} token", team=team, scopes={Scope.READ})
    return {
        "line": LINES[team],
        "topic": topic,
        "subscription": hook,
        "to": hook,
        "group": pull,
        "team": team,
        "letter": letter,
        "ids": [letter],
        "replay": running.id,
        "token": token.token.id,
        "event": event,
        "message": f"{team}-message",
    }


async def _bury(redis: Redis, subscription: str, topic: str, event: str) -> str:
    """Write a dead letter as a worker does."""
    lane = Lane(redis, subscription, topic)
    await lane.ensure()
    fields: dict[Any, Any] = {
        "id": event,
        "type": "message.received",
        "line": "+16465550101",
        "chat": "chat",
        "at": str(BAD.at_ms),
        "version": "2026-02-03",
        "body": body_of(event_id=event),
        "dead_topic": topic,
        "dead_at": str(BAD.at_ms),
        "dead_reason": "rejected: status 404",
        "dead_tries": "3",
        "dead_first_at": str(BAD.at_ms),
        "dead_status": "404",
        "dead_detail": f"{subscription} said no",
    }
    entry: bytes = await redis.xadd(redis.key.lane(subscription, "dead"), fields)
    return entry.decode()
