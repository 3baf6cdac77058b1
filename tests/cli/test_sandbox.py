"""`relay sandbox` as a process."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import linq
import pytest

from relay.cli.sandbox import DEFAULT_LINES
from tests.cli.running import ended, invoke, line_with, relay, relay_process

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator


LOCAL = "http://127.0.0.1:9/x"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as candidate:
            candidate.bind(("::1", 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox that said where it is."""

    process: asyncio.subprocess.Process
    base_url: str
    key: str


@asynccontextmanager
async def started(*arguments: str, listen: str = "127.0.0.1:0") -> AsyncIterator[Started]:
    """`relay sandbox` on a free port, found by the variables that it prints."""
    async with relay_process("sandbox", "--listen", listen, *arguments) as process:
        line = await line_with("LINQ_API_V3_BASE_URL", process.stdout)
        variables = dict(word.split("=", 1) for word in line.split())
        yield Started(process, variables["LINQ_API_V3_BASE_URL"], variables["LINQ_API_V3_API_KEY"])


async def test_sandbox_starts_responds_and_stops() -> None:
    async with started() as running:
        async with linq.AsyncLinqAPIV3(api_key=running.key, base_url=running.base_url) as client:
            lines = [number.phone_number for number in (await client.phone_numbers.list()).phone_numbers]
            with pytest.raises(linq.BadRequestError):
                await client.webhook_subscriptions.create(target_url=LOCAL, subscribed_events=["message.sent"])
        assert tuple(lines) == DEFAULT_LINES
        running.process.send_signal(signal.SIGTERM)
        said = await ended(running.process)
    assert (said.code, said.err) == (0, "")


async def test_sandbox_prints_the_url_of_its_page() -> None:
    async with relay_process("sandbox", "--listen", "127.0.0.1:0") as process:
        url = (await line_with("/sandbox", process.stdout)).split()[-1]
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")


async def test_key_lines_and_local_targets_are_options() -> None:
    lines = ["+15035550177", "+15035550178"]
    async with started("--api-key", "my-key", "--line", lines[0], "--line", lines[1], "--allow-local") as running:
        assert running.key == "my-key"
        async with linq.AsyncLinqAPIV3(api_key="my-key", base_url=running.base_url) as client:
            assert [number.phone_number for number in (await client.phone_numbers.list()).phone_numbers] == lines
            await client.webhook_subscriptions.create(target_url=LOCAL, subscribed_events=["message.sent"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "here"],
        ["--listen", "127.0.0.1:70000"],
        ["--line", "16465550123"],
        ["--line", "+16465550123", "--line", "nobody"],
        ["--account", "sales-key"],
        ["--account", "sales-key=+16465550123"],
        ["--speed", "0"],
        ["--rate", "-1"],
    ],
    ids=" ".join,
)
def test_invalid_value_is_a_wrong_command_line(arguments: list[str]) -> None:
    said = invoke("sandbox", *arguments)
    assert said.code == 2
    assert arguments[0] in said.err


async def test_taken_port_is_one_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = await relay("sandbox", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert said.code == 1
    assert said.is_one_message_without_traceback()
    assert "Address already in use" in said.err


async def test_printed_variables_are_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    async with started() as running:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/partner", running.base_url)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
async def test_printed_url_is_usable_with_ipv6() -> None:
    async with started(listen="[::1]:0") as running:
        assert re.fullmatch(r"http://\[::1\]:\d+/api/partner", running.base_url)
