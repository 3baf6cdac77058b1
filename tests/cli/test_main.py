"""The command line as a whole: what is there, and how errors are told."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from relay import __version__
from tests.cli.running import invoke, main_here, relay

COMMANDS = (
    "up",
    "ingress",
    "worker",
    "sandbox",
    "demo",
    "check",
    "explain",
    "ledger",
    "topics",
    "doctor",
    "bootstrap",
    "dead",
    "subscriptions",
    "secret",
)


async def test_help_names_every_command() -> None:
    said = await relay("--help")
    assert said.code == 0
    assert all(command in said.out for command in COMMANDS)


@pytest.mark.parametrize(
    ("command", "promises"),
    [
        (["bootstrap"], ["plan", "apply"]),
        (["bootstrap", "plan"], ["--json"]),
        (["dead"], ["list", "show", "replay"]),
        (["dead", "list"], ["--subscription", "--id", "--json"]),
        (["dead", "show"], ["--subscription", "--id", "--json"]),
        (["dead", "replay"], ["--subscription", "--id", "--all", "--json"]),
        (["secret"], ["generate"]),
        (["explain"], ["A webhook's body", "--line", "--json"]),
        (["sandbox"], ["--listen", "--line", "--api-key", "--allow-local", "--speed", "--rate", "--seed"]),
        (["demo"], ["--once"]),
        (["ingress"], ["--processes"]),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(command: list[str], promises: list[str]) -> None:
    said = invoke(*command, "--help")
    assert said.code == 0
    assert all(promise in said.out for promise in promises)


def test_version_is_told() -> None:
    assert invoke("--version").out == f"linq-relay {__version__}\n"


async def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("relay")
    process = await asyncio.create_subprocess_exec(script, "--version", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, f"linq-relay {__version__}\n")


@pytest.mark.parametrize("arguments", [["nothing"], ["check", "--nothing"], ["explain"], ["dead", "nothing"]])
async def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    said = await main_here(*arguments)
    assert said.code == 2
    assert said.is_one_message_without_traceback()


async def test_help_does_not_load_what_commands_need() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import relay.cli, sys; print([name for name in ('linq', 'aiohttp', 'arq', 'uvloop') if name in sys.modules])",
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out == b"[]\n"


@pytest.mark.parametrize(
    "arguments",
    [["ledger"], ["dead", "list"], ["dead", "show", "--json"], ["dead", "replay", "--all"]],
    ids=" ".join,
)
async def test_a_redis_that_is_down_is_told_in_one_message(arguments: list[str], no_redis: str) -> None:
    said = await main_here(*arguments, REDIS_URL=no_redis)
    assert said.code == 1
    assert said.is_one_message_without_traceback()
