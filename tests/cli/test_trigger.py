from __future__ import annotations

import pytest

from tests.cli.running import invoke, invoke_beside
from tests.sandbox.running import LINE, closed_port, running_sandbox


async def test_sandbox_sends_the_event_that_is_asked_for() -> None:
    async with running_sandbox() as running:
        said = await invoke_beside(
            "trigger", "message.received", "--line", LINE, "--text", "hello", "--sandbox", running.url, "--json"
        )
        assert said.json["subscriptions"] == 0
        said = await invoke_beside("trigger", "message.read", "--count", "3", "--sandbox", running.url)
    assert "3 message.read events, the first" in said.out
    assert "no webhook subscription at the sandbox matches" in said.out


def test_wrong_type_is_answered_with_the_known_ones() -> None:
    said = invoke("trigger", "message.recieved")
    assert said.code == 2
    words = said.err.split()
    assert "message.received," in words
    assert invoke("trigger", "--list").out.splitlines() == sorted(invoke("trigger", "--list", "--json").json)


def test_no_sandbox_is_told_with_the_command_that_starts_one() -> None:
    with closed_port() as port, pytest.raises(Exception, match="start it with relay sandbox"):
        invoke("trigger", "message.received", "--sandbox", f"http://127.0.0.1:{port}")
