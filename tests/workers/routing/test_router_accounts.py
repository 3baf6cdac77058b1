"""The secret of an account proves no line of another one: neither for topics, nor for what is kept of lines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect, VerifiedWebhook
from relay.core.secret import new_key
from relay.linq.api.v3 import ListedLine
from relay.store.account_events import AccountEvents
from relay.store.driver.client import ask
from relay.store.gaps.message_index import MessageIndex, message_key
from relay.store.inbox.chat_lines import ChatLines, Sighting
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring
from relay.store.keyring.line_accounts import LineAccounts
from relay.store.lines.activity import read_event_times
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.linq_facts import read_facts, record_list
from relay.store.lines.opt_outs import list_opt_outs
from tests.building import CUSTOMER, LINE, OTHER_LINE, SECRET, body_of
from tests.support import KEYS, eventually
from tests.workers.conftest import accept, emptied, routing, topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis

NEW_LINE = "+16465550125"


@pytest.fixture
def rules_file(rules_file: Path) -> Path:
    (rules_file.parent / "key").write_text("key")
    accounts = "".join(f'\n[[linq.accounts]]\nname = "{name}"\nkey = "file:key"\n' for name in ("sales", "support"))
    lines = f'\n[[topics]]\nname = "of-line"\nevents = ["*"]\nlines = ["{LINE}", "{NEW_LINE}"]\n'
    rules_file.write_text(f"{rules_file.read_text()}{lines}[linq]\nopt_outs = true\n{accounts}")
    return rules_file


def keyring(redis: Redis, account: str | None) -> Keyring:
    return Keyring(redis, Cipher(new_key()), account)


async def by_secret(redis: Redis, *_: object) -> None:
    """Let the account `sales` have LINE, and the one without a name the other, by the secrets that are stored."""
    await keyring(redis, "sales").store(LINE, 1, "of-sales", SECRET, time.time())
    await keyring(redis, None).store(OTHER_LINE, 1, "of-the-other", SECRET, time.time())


async def by_list(redis: Redis, *_: object) -> None:
    """The same by Linq's lists, against an old secret."""
    await keyring(redis, None).store(LINE, 1, "old", SECRET, time.time())
    await record_list(redis, [ListedLine(LINE)], round(time.time() * 1000), "sales")
    await record_list(redis, [ListedLine(OTHER_LINE)], round(time.time() * 1000))


async def by_rules(redis: Redis, rules: ConfigFile, rules_file: Path) -> None:
    """The same by relay.toml, against an old list."""
    await record_list(redis, [ListedLine(LINE)], round(time.time() * 1000))
    listed = rules_file.read_text().replace("[linq]\n", f'[linq]\nlines = ["{OTHER_LINE}"]\n')
    rules_file.write_text(listed.replace('name = "sales"\n', f'name = "sales"\nlines = ["{LINE}"]\n'))
    rules.reload()


def of(account: str | None, event_id: str, event_type: str = "message.received", **data: Any) -> VerifiedWebhook:
    """Return an event that the secret of an account without a line has verified."""
    body = body_of(event_type, event_id, **data)
    return VerifiedWebhook(event_id, event_type, Dialect.V3, event_id, None, body, account=account)


def message(account: str | None, event_id: str, line: str = LINE, **data: Any) -> VerifiedWebhook:
    chat = {"id": f"chat-of-{line}", "owner_handle": {"handle": line, "is_me": True}}
    stop: dict[str, Any] = {"sender_handle": {"handle": CUSTOMER}, "parts": [{"type": "text", "value": "STOP"}]}
    return of(account, event_id, direction="inbound", chat=chat, id=f"message-{event_id}", **stop, **data)


async def route(redis: Redis, rules: ConfigFile, *webhooks: VerifiedWebhook) -> None:
    await accept(redis, *webhooks)
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))


async def lines(redis: Redis, name: str = "everything") -> dict[str, str]:
    return {entry["id"]: entry["line"] for entry in await topic(redis, name)}


@pytest.mark.parametrize("known", [by_secret, by_list, by_rules])
async def test_an_account_proves_its_own_lines_only(
    redis: Redis,
    rules: ConfigFile,
    rules_file: Path,
    known: Callable[[Redis, ConfigFile, Path], Awaitable[None]],
) -> None:
    await known(redis, rules, rules_file)
    forged = [message(None, "forged-1"), message("support", "forged-2"), message("sales", "forged-3", OTHER_LINE)]
    true = [message("sales", "true-1"), message(None, "true-2", OTHER_LINE)]
    with capture_logs() as logs:
        await route(redis, rules, *forged, *true)
    assert await lines(redis) == dict.fromkeys(["forged-1", "forged-2", "forged-3"], "") | {
        "true-1": LINE,
        "true-2": OTHER_LINE,
    }
    assert list(await lines(redis, "of-line")) == ["true-1"]
    told = {line["id"]: line for line in logs if line["event"] == "event.line_of_another_account"}
    assert told.keys() == {"forged-1", "forged-2", "forged-3"}
    assert (
        told["forged-2"].items()
        >= {
            "account": "support",
            "payload_line": LINE,
            "line_accounts": ["sales"],
            "log_level": "warning",
        }.items()
    )


async def test_nothing_that_is_kept_of_a_line_counts_it(redis: Redis, rules: ConfigFile) -> None:
    await by_secret(redis)
    change = {"phone_number": LINE, "new_status": "FLAGGED", "changed_at": "2026-09-14T09:15:02Z"}
    forged = [message(None, "1"), of(None, "2", "phone_number.status_updated", **change)]
    await route(redis, rules, *forged)
    assert await list_opt_outs(redis, LINE, 10) == []
    assert await read_event_times(redis) == {}
    assert await read_facts(redis) == {}
    index, now_ms = MessageIndex(redis), round(time.time() * 1000)
    await index.read(now_ms, now_ms)
    key = message_key("message.received", LINE, "message-1")
    assert index.without_known([key]) == {key}
    assert {entry["id"]: entry["via"] for entry in await topic(redis, "everything")} == {
        "1": "none 0 -",
        "2": "none 0 -",
    }


async def test_chats_neither_teach_nor_keep_a_line_of_another_account(redis: Redis, rules: ConfigFile) -> None:
    await by_secret(redis)
    await ask(redis.hset(KEYS.chats, "v3:taught-by-an-older-release", LINE))
    await ask(redis.zadd(KEYS.chats_proved, {"v3:taught-by-an-older-release": time.time() * 1000}))
    later = of(None, "2", "message.failed", chat_id="taught-by-an-older-release")
    await route(redis, rules, message(None, "1"), of(None, "3", "message.failed", chat_id=f"chat-of-{LINE}"), later)
    assert await lines(redis) == {"1": "", "3": "", "2": ""}
    sighting = Sighting(Dialect.V3, f"chat-of-{LINE}", None)
    assert await ChatLines(redis, time.time).resolve([sighting], "") == [None]


async def test_a_line_that_no_account_is_known_to_have_is_proved_by_none(redis: Redis, rules: ConfigFile) -> None:
    assigned = of("sales", "assigned", "phone_number.assigned", phone_number=NEW_LINE)
    await route(redis, rules, message("sales", "1", NEW_LINE), assigned)
    assert await lines(redis) == {"1": "", "assigned": ""}
    assert [event.line for event in await AccountEvents(redis).waiting()] == [NEW_LINE]  # it only asks for a look
    await record_list(redis, [ListedLine(NEW_LINE)], round(time.time() * 1000), "sales")
    await route(redis, rules, message("sales", "2", NEW_LINE))
    assert list(await lines(redis, "of-line")) == ["2"]


async def test_the_release_of_a_line_counts_from_its_own_account_or_line_only(redis: Redis, rules: ConfigFile) -> None:
    await by_secret(redis)
    released: dict[str, Any] = {"event_type": "phone_number.released", "phone_number": LINE}
    of_another_line = of("sales", "3", **released)._replace(line=OTHER_LINE)
    await route(redis, rules, of(None, "1", **released), of("sales", "2", **released), of_another_line)
    assert [event.line for event in await AccountEvents(redis).waiting()] == [None, LINE, None]


async def test_v2_and_backfilled_events_need_no_account(redis: Redis, rules: ConfigFile) -> None:
    await by_secret(redis)
    data: dict[str, Any] = {"id": "m", "chat_handles": [{"identifier": LINE, "is_me": True}]}
    v2 = of(None, "v2", **data)
    await accept(
        redis, v2._replace(dialect=Dialect.V2, body=v2.body.replace(b'"api_version": "v3"', b'"api_version": "v2"'))
    )
    put_back = message(None, "put-back")
    fields: dict[Any, Any] = {"id": "put-back", "type": put_back.type, "dialect": "v3", "webhook_id": "put-back"}
    await redis.xadd(KEYS.inbox, fields | {"line": "", "at": "1", "source": "backfill", "body": put_back.body})
    async with routing(redis, rules):
        await eventually(lambda: emptied(redis))
    assert list(await lines(redis, "of-line")) == ["v2", "put-back"]


async def test_a_router_learns_of_lines_while_it_runs(redis: Redis, rules: ConfigFile, rules_file: Path) -> None:
    now = 0.0
    accounts, config = LineAccounts(redis, lambda: now), rules.current.config
    await accounts.begin(config)
    assert (accounts.known, accounts.is_due(config)) == ({}, False)
    await by_secret(redis)
    now = 60.0
    assert accounts.is_due(config)
    await accounts.read(config)
    assert accounts.known == {LINE: {"sales"}, OTHER_LINE: {None}}
    await by_rules(redis, rules, rules_file)
    assert accounts.is_due(rules.current.config)
    await ask(redis.set(LineKeys(redis).facts, "overwritten"))
    await ask(redis.delete(KEYS.keyring))
    await ask(redis.set(KEYS.keyring, "overwritten"))
    await accounts.read(rules.current.config)
    assert accounts.known == {LINE: {"sales"}, OTHER_LINE: {None}}


async def test_one_account_is_not_asked_and_costs_no_read_while_a_drain_runs(redis: Redis, rules: ConfigFile) -> None:
    one = rules.current.config.model_copy(
        update={"linq": rules.current.config.linq.model_copy(update={"accounts": ()})}
    )
    await keyring(redis, None).store(LINE, 1, "of-the-one", SECRET, time.time())
    now = 0.0
    accounts = LineAccounts(redis, lambda: now)
    await accounts.begin(one)
    now = 3600.0
    assert (accounts.known, accounts.is_due(one)) == (None, False)
    await keyring(redis, "removed").store(OTHER_LINE, 1, "of-a-removed-one", SECRET, time.time())
    await accounts.begin(one)
    assert accounts.known == {LINE: {None}, OTHER_LINE: {"removed"}}
