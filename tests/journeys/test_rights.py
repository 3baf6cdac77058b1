"""The relay, a pulling team and a viewer, each with exactly the rights that `relay acl` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from relay.consumer import consume
from relay.core.secret import SigningSecret
from relay.linq.signatures import v2
from relay.sandbox.app import Emission
from relay.store.driver.client import Redis
from tests.cli.running import main_here
from tests.journeys.conftest import LINES
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Said
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine

PREFIX = "acme"

LOOKS = (
    "ledger",
    "topics",
    "attempts --subscription bot",
    "audit",
    "doctor",
    "subscriptions list",
    "dead list",
    "dead show --subscription bot",
    "quarantine list",
    "quarantine show --reason JSON",
    "quarantine retry --all --dry-run",
    "dead replay --all --subscription bot --dry-run",
    "dead drop test --all --subscription bot --dry-run",
    "replay list",
    "replay --topic messages --to bot --dry-run",
    "groups list",
    "groups show messages/billing",
    "groups seek messages/billing --to start --dry-run",
    "explain webhook.json",
    "bootstrap status",
    "bootstrap plan",
)
"""Every command that only looks, and every `--dry-run`."""

CHANGES = (
    "subscriptions pause bot --why test",
    "subscriptions resume bot",
    "dead replay --subscription bot --all",
    "dead drop test --subscription crm --all",
    "quarantine retry --all",
    "quarantine drop test --all",
    "groups seek messages/billing --to start --yes",
    "bootstrap rotate",
    "bootstrap apply",
)
REMOVALS = ("subscriptions drop bot", "topics drop messages --force --yes")


ONE_TOPIC = """
[[topics]]
name = "everything"
events = ["*"]
"""


class Users:
    """The users of a Redis, made with what `relay acl` prints."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def make(self, *arguments: str) -> str:
        """Create a user; return the URL with its credentials."""
        said = await main_here("acl", *arguments, **self._service.environment)
        assert said.code == 0
        words = said.out.replace("PASSWORD", "secret").split()
        for port in self._service.redis.ports:  # on a cluster each server has users of its own
            async with Redis(port=port) as redis:
                await redis.execute_command(*words)  # type: ignore[no-untyped-call]
        return self._service.redis.url.replace("://", f"://{words[2]}:secret@")

    async def refusals(self) -> list[dict[str, Any]]:
        """Return what Redis has refused to any of them."""
        found: list[dict[str, Any]] = []
        for port in self._service.redis.ports:
            async with Redis(port=port) as redis:
                found += await redis.acl_log()
        return found


async def call(service: Service, command: str, url: str) -> Said:
    """Run a command as the user of `url`."""
    return await main_here(*command.split(), **service.environment | {"REDIS_URL": url})


async def quarantine_one(service: Service) -> None:
    body = b"{"
    headers = v2.sign(SigningSecret("relay-v2-secret"), body)
    url = f"{service.url}/webhooks/linq/v2"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        assert answer.status == 200


async def test_all_work_with_exactly_their_rights(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    service.environment["RELAY_KEY_PREFIX"] = PREFIX
    users = Users(service)
    relay, viewer = await users.make(), await users.make("--viewer")
    team = await users.make("--topic", "messages", "--group", "billing")
    service.environment["REDIS_URL"] = relay
    works = False

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if works or received.path == "/crm" else 500)

    service.sink.answer = answer
    await service.run("bootstrap", "apply")
    await service.start("ingress")
    await service.start(module="workers")
    await eventually(service.is_ready)
    events = [service.sandbox.emit(Emission(type="message.received", line=LINES[0]))[0] for _ in range(3)]
    (tmp_path / "webhook.json").write_text(json.dumps({"event_type": "message.received", "event_id": "e"}))
    await eventually(lambda: len(set(service.sink.ids("/crm"))) == 3)
    async with consume(team, topic="messages", group="billing", key_prefix=PREFIX) as pulled:
        read = [(await anext(pulled)).id for _ in range(2)]
    async with consume(team, topic="messages", group="billing", key_prefix=PREFIX) as pulled:
        assert sorted([*read, (await anext(pulled)).id]) == sorted(events)
    await quarantine_one(service)

    async def dead() -> bool:
        return len((await call(service, "dead list --json", viewer)).json) == 3

    await eventually(dead)
    looked = {command: await call(service, command, viewer) for command in LOOKS}
    assert {command: said.err for command, said in looked.items() if said.err} == {}
    doctor = looked["doctor"].out.replace("appendfsync not checked", "").replace("ghost streams not checked", "")
    assert "not checked: Redis refuses" not in doctor
    assert await refused_but_doctor(users) == []

    works = True
    changed = {command: await call(service, command, relay) for command in CHANGES}
    assert {command: said.err for command, said in changed.items() if said.err} == {}
    await eventually(lambda: set(service.sink.ids("/bot")) == set(events))
    assert (await call(service, "replay --topic messages --to bot --follow", relay)).code == 0
    assert (await call(service, "ledger", viewer)).code == 0
    service.rules.write_text(ONE_TOPIC)
    await eventually(lambda: service.logged("config.reloaded"))
    removed = {command: await call(service, command, relay) for command in REMOVALS}
    assert {command: said.err for command, said in removed.items() if said.err} == {}
    assert await refused_but_doctor(users) == []
    assert "permission" not in service.log.read_text()


async def refused_but_doctor(users: Users) -> list[tuple[str, str, str]]:
    """Return what was refused, without the checks of `relay doctor` and of ghost streams that need more.

    With shards the doctor compares the rights on each: it queues what the relay needs in a transaction and discards it.
    """
    refusals = [(entry["username"], entry["object"], entry["context"]) for entry in await users.refusals()]
    of_relay = [each for each in refusals if (each[0], each[2]) != (f"{PREFIX}-viewer", "multi")]
    return [refusal for refusal in of_relay if refusal[1] not in {"config|get", "scan"}]
