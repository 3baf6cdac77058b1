"""`relay message`: the life of a message."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.building import CUSTOMER, LINE
from tests.cli.running import RULES, invoke_beside, main_here
from tests.services.topics.history.conftest import put
from tests.support import TIMEOUT

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

T = 1_789_377_302_000
MESSAGE, REPLY = "b3f2a8d1-77c4-4e19-a5d0-2c6e9f1b4a83", "0c8d5e7f-12ab-4f60-9d3e-8a7b6c5d4e3f"

LIFE = f"""\
Message {MESSAGE}
  state       sent
  kind        outbound, iMessage
  line        {LINE}
  chat        c1

Life
  sent            2026-09-14 09:15:02+00:00  by {LINE}
                  event e-1
  reaction added  2026-09-14 09:15:03+00:00  like, by {CUSTOMER}
                  event e-2
  reply           2026-09-14 09:15:04+00:00  by {CUSTOMER}, message
                  {REPLY}
                  event e-3

It was sent, and neither message.delivered nor message.failed has come.
"""


async def happen(redis: Redis, event_id: str, event_type: str, at_ms: int, data: dict[str, Any], message: str) -> None:
    body = json.dumps({"event_id": event_id, "event_type": event_type, "data": data})
    more = {"type": event_type, "message": message, "service": "iMessage", "direction": "outbound"}
    await put(redis, "support", event_id, at_ms, **more, body=body)


@pytest.fixture(autouse=True)
async def _events(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message, a reaction and a reply."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    Path("relay.toml").write_text(RULES)
    sent = {"id": MESSAGE, "sender_handle": {"handle": LINE}, "sent_at": "2026-09-14T09:15:02Z"}
    await happen(redis, "e-1", "message.sent", T, sent, MESSAGE)
    liked = {"message_id": MESSAGE, "reaction_type": "like", "reacted_at": "2026-09-14T09:15:03Z", "from": CUSTOMER}
    await happen(redis, "e-2", "reaction.added", T + 1000, liked, MESSAGE)
    reply = {"id": REPLY, "from_handle": {"handle": CUSTOMER}, "reply_to": {"message_id": MESSAGE}}
    await happen(redis, "e-3", "message.received", T + 2000, reply | {"sent_at": "2026-09-14T09:15:04.5Z"}, REPLY)


async def test_life_fits_a_terminal_of_80_columns() -> None:
    main, child = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *("relay", "message", MESSAGE, "--utc"),
        stdout=child,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )
    os.close(child)
    async with asyncio.timeout(TIMEOUT):
        await process.communicate()
    assert process.returncode == 0
    shown = os.read(main, 65536).decode().replace("\r\n", "\n")
    os.close(main)
    assert shown == LIFE


async def test_piped_output_is_not_wrapped_and_json_has_all() -> None:
    said = await invoke_beside("message", MESSAGE, "--utc")
    assert f"reply           2026-09-14 09:15:04+00:00  by {CUSTOMER}, message {REPLY}\n" in said.out
    assert "\x1b" not in said.out
    found = (await invoke_beside("message", MESSAGE, "--json")).json
    assert (found["state"], found["line"], found["cursor"]) == ("sent", LINE, None)
    assert [step["kind"] for step in found["steps"]] == ["sent", "reaction added", "reply"]
    assert found["steps"][2] | {"subscriptions": None} == {
        "kind": "reply",
        "at": T + 2500,
        "routed_at": T + 2000,
        "event": "e-3",
        "type": "message.received",
        "by": CUSTOMER,
        "detail": None,
        "reply": REPLY,
        "history": False,
        "topics": ["support"],
        "subscriptions": None,
    }
    assert found["missing"] == ["It was sent, and neither message.delivered nor message.failed has come."]


async def test_unknown_message_is_one_error_line() -> None:
    said = await main_here("message", "none")
    assert said.is_one_message_without_traceback()
    assert (said.code, "the topics hold none" in said.err) == (1, True)
