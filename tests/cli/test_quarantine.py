"""`relay quarantine`: webhooks that could not be parsed are listed, shown, retried and dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.core.event import Dialect
from relay.store import wakeups
from relay.store.inbox.quarantine import Quarantine
from tests.building import LINE, body_of
from tests.cli.running import Said, invoke_beside
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

CAME = 1_789_377_302_417
GOOD = body_of("message.received", "e-1")


@pytest.fixture
async def bodies(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """One that is nothing, and two that are the same good event: as if an older relay had not been able to read it."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text("")
    store = Quarantine(redis)
    await store.put(Dialect.V3, LINE, b"not JSON \xff [/]", "the body is not JSON", CAME)
    await store.put(Dialect.V3, LINE, GOOD, "event_id: too modern", CAME + 1000)
    await store.put(Dialect.V3, None, GOOD, "event_id: too modern", CAME + 2000)
    return redis


async def quarantine(*arguments: str) -> Said:
    return await invoke_beside("quarantine", *arguments)


async def listed() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await quarantine("list", "--json")).json
    return rows


async def test_list_shows_quarantined_webhooks(bodies: Redis) -> None:
    entries = [entry.decode() for entry, _ in await bodies.xrange(KEYS.quarantine)]
    assert [row["id"] for row in await listed()] == entries
    assert (await listed())[0] == {
        "id": entries[0],
        "api": "v3",
        "line": LINE,
        "received_at": CAME,
        "bytes": 14,
        "reason": "the body is not JSON",
    }
    said = await quarantine("list")
    assert "Quarantined webhooks: 3" in said.out
    assert "the body is not JSON" in said.out


@pytest.mark.usefixtures("bodies")
async def test_show_replaces_bytes_that_are_not_text() -> None:
    [row, *_] = (await quarantine("show", "--json")).json
    assert row["body"] == "not JSON \ufffd [/]"
    assert "not JSON \ufffd [/]" in (await quarantine("show", "--id", row["id"])).out
    said = await quarantine("show", "--id", "9-9")
    assert (said.code, said.out.strip()) == (1, "Nothing found.")


@pytest.mark.usefixtures("bodies")
@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--reason", "too modern"], 2),
        (["--since", "2026-09-14T09:15:03Z"], 2),
        (["--until", "2026-09-14T09:15:03Z"], 1),
        (["--since", "1h", "--reason", "JSON"], 0),
    ],
)
async def test_filters_choose_what_is_shown(options: list[str], count: int) -> None:
    assert len((await quarantine("list", *options, "--json")).json) == count
    assert (await quarantine("drop", "why", *options, "--dry-run", "--json")).json == {
        "dry_run": True,
        "would_drop": count,
    }
    assert len(await listed()) == 3


async def test_retry_accepts_each_readable_event_once(bodies: Redis) -> None:
    said = await quarantine("retry", "--all", "--dry-run", "--json")
    assert said.json == {"dry_run": True, "would_accept": 2, "unreadable": 1}
    assert (await quarantine("retry", "--all", "--dry-run")).out == "2 can be parsed, 1 still unreadable\n"
    assert len(await listed()) == 3
    said = await quarantine("retry", "--all")
    assert said.out.strip() == "1 accepted, 1 duplicate, 1 still unreadable"
    assert [row["reason"] for row in await listed()] == ["the body is not JSON"]
    [(_, event)] = await bodies.xrange(KEYS.inbox)
    assert (event[b"id"], event[b"type"], event[b"line"]) == (b"e-1", b"message.received", LINE.encode())
    assert (event[b"dialect"], event[b"webhook_id"], event[b"body"]) == (b"v3", b"e-1", GOOD)
    assert int(event[b"at"]) > CAME
    assert await bodies.zscore(KEYS.queue, wakeups.route(KEYS).job_id) == wakeups.NOW
    totals = (await invoke_beside("ledger", "--json")).json["totals"]
    assert (totals["accepted"], totals["duplicate"], totals["inbox"]) == (1, 1, 1)


@pytest.mark.usefixtures("bodies")
async def test_unreadable_webhook_stays_in_quarantine() -> None:
    [bad, *_] = await listed()
    said = await quarantine("retry", "--id", bad["id"], "--json")
    assert (said.code, said.json) == (1, {"accepted": 0, "repeats": 0, "unreadable": 1})
    assert len(await listed()) == 3


@pytest.mark.usefixtures("bodies")
async def test_drop_is_logged_and_counted() -> None:
    with capture_logs() as logs:
        said = await quarantine("drop", "a test of theirs", "--reason", "not JSON")
    assert said.out.strip() == "1 dropped"
    assert [(line["event"], line["bodies"], line["why"]) for line in logs] == [
        ("quarantine.dropped", 1, "a test of theirs")
    ]
    assert len(await listed()) == 2
    ledger = (await invoke_beside("ledger", "--json")).json
    assert (ledger["totals"]["quarantined"], ledger["totals"]["quarantine_dropped"], ledger["balances"]) == (3, 1, True)
    assert (await quarantine("drop", "why", "--id", "9-9")).code == 1


@pytest.mark.usefixtures("bodies")
@pytest.mark.parametrize("command", [["drop", "why"], ["retry"]])
async def test_change_without_a_choice_needs_all(command: list[str]) -> None:
    said = await quarantine(*command)
    assert said.code == 2
    assert "--all" in said.err
    assert len(await listed()) == 3
