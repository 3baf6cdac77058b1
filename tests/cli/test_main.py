"""The command line as a whole: help, completion, imports, errors, Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from relay import __version__
from relay.cli.program import app
from relay.process.build import revision
from tests.cli.running import ended, invoke, main_here, relay, relay_interpreter
from tests.forked.process import start_python

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES_WITH_AN_ACCENT = '# é\n[[topics]]\nname = "support"\nevents = ["*"]\n'
RELAY = Path(__file__).resolve().parents[2] / "relay"

COMMANDS = (
    "up",
    "ingress",
    "worker",
    "admin",
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


def test_version_is_shown() -> None:
    assert invoke("--version").out == f"linq-relay {__version__} (revision {revision()})\n"


async def test_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("relay")
    process = await asyncio.create_subprocess_exec(script, "--version", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, invoke("--version").out)


@pytest.mark.parametrize("arguments", [["nothing"], ["check", "--nothing"], ["explain"], ["dead", "nothing"]])
async def test_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    said = await main_here(*arguments)
    assert said.code == 2
    assert said.is_one_message_without_traceback()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["subscripton", "list"], "No such command 'subscripton'. Did you mean 'subscriptions'?"),
        (["attempts", "--outcome", "faild"], "Invalid value for '--outcome': 'faild' is not one of 'delivered',"),
    ],
)
async def test_a_mistyped_word_is_answered_with_the_right_ones(arguments: list[str], message: str) -> None:
    said = await main_here(*arguments)
    assert (said.code, message in said.err) == (2, True), said.err


@pytest.mark.parametrize("option", ["--help", "--version"])
async def test_help_and_version_import_no_command(option: str) -> None:
    heavy = ("redis", "structlog", "rich", "pydantic", "aiohttp", "arq", "linq", "uvloop", "importlib.metadata")
    program = (
        f"import sys; sys.argv = ['relay', {option!r}]; import atexit; from relay.cli import main; "
        f"atexit.register(lambda: print('loaded', [name for name in {heavy!r} if name in sys.modules])); main()"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.endswith(b"loaded []\n")


def walk(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below `group`, as a documentation generator walks them."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield (*path, name), command
        if hasattr(command, "list_commands"):
            yield from walk(command, (*path, name))


COMMAND_TREE = dict(walk(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMAND_TREE, ids=" ".join)
def test_every_help_page_fits_80_columns_and_has_examples(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = invoke(*path, "-h")
    assert (said.code, said.err) == (0, "")
    assert [line for line in said.out.splitlines() if len(line) > 80] == []
    assert said.out.split("Examples:")[1].count("relay ") >= 2
    assert not re.search(r"<\w+>|[<>]=|\[\[[A-Z]", said.out)
    assert COMMAND_TREE[path].help
    assert COMMAND_TREE[path].epilog.startswith("Examples:\n  ")


def test_every_option_with_a_value_has_a_name_for_it() -> None:
    for path, command in COMMAND_TREE.items():
        for parameter in command.params:
            is_flag = getattr(parameter, "is_flag", False)
            assert is_flag or parameter.metavar, (path, parameter.name)


def test_commands_are_shown_in_groups_with_exit_codes() -> None:
    out = invoke("--help").out
    positions = [out.index(f"\n{section}:\n") for section in ("Run", "Observe", "Repair", "Set up", "Exit codes")]
    assert positions == sorted(positions)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_script_is_shown(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    said = await main_here("--show-completion", shell)
    assert said.code == 0
    assert "_RELAY_COMPLETE" in said.out


@pytest.mark.parametrize(
    ("words", "completed"),
    [("relay le", ["ledger"]), ("relay dead re", ["replay"]), ("relay attempts --tr", ["--trace"])],
)
async def test_words_are_completed(words: str, completed: list[str]) -> None:
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_RELAY_COMPLETE": "complete_bash"}
    said = await relay(**variables)
    assert (said.code, said.out.split()) == (0, completed)


@pytest.mark.needs_tool("bash")
async def test_installed_completion_completes_in_bash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert (await main_here("--install-completion", "bash")).code == 0
    tab = 'source ~/.bashrc; COMP_WORDS=(relay subscr); COMP_CWORD=1; _relay_completion relay; echo "${COMPREPLY[@]}"'
    pipe = asyncio.subprocess.PIPE
    said = await ended(await asyncio.create_subprocess_exec("bash", "-c", tab, stdout=pipe, stderr=pipe))
    assert said.out == "subscriptions\n", said.err


async def test_version_is_that_of_the_package() -> None:
    assert metadata.version("linq-relay") == __version__


# --- Ctrl-C, and output that cannot be written -------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.4, 0.8])
async def test_ctrl_c_ends_without_a_traceback(delay: float, no_redis: str) -> None:
    async with relay_interpreter("sandbox", "--listen", "127.0.0.1:0", REDIS_URL=no_redis) as process:
        await asyncio.sleep(delay)
        process.send_signal(signal.SIGINT)
        said = await ended(process)
    # Until the interpreter handles signals it is killed (-2); until it runs our code, the traceback is its own. Once
    # the sandbox serves, Ctrl-C is its usual end.
    is_interpreter = "<frozen runpy>" in said.err or "Fatal Python error: init_" in said.err
    is_before_our_code = is_interpreter and f'File "{RELAY}' not in said.err
    assert said.code in {-signal.SIGINT, 0, 130} or is_before_our_code
    assert "Traceback" not in said.err or is_before_our_code


@pytest.mark.parametrize("delay", [0.2, 0.4, 0.8])
async def test_ctrl_c_ends_a_worker_that_starts_without_a_traceback(delay: float, no_redis: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workers"),
        env=os.environ | {"REDIS_URL": no_redis},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await asyncio.sleep(delay)
    with suppress(ProcessLookupError):  # on a fast machine it has found no relay.toml by now
        process.send_signal(signal.SIGINT)
    said = await ended(process)
    assert said.code in {-signal.SIGINT, 1, 2, 130}  # 1: the interpreter itself had not started
    assert not any(f'File "{RELAY.parent / package}' in said.err for package in ("relay", "workers"))


async def test_ctrl_c_during_an_import_is_exit_code_130() -> None:
    program = (
        "import os, signal; from relay.cli.interrupts import exit_on_interrupt\n"
        "with exit_on_interrupt(): os.kill(os.getpid(), signal.SIGINT)\n"
        "print('not reached')"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


@pytest.mark.parametrize("command", ["relay --help", "relay check"])
@pytest.mark.parametrize("shell", ["{} | true", "{} >&-", "PYTHONIOENCODING=ascii {}"])
async def test_output_that_cannot_be_written_is_no_traceback(command: str, shell: str) -> None:
    Path("relay.toml").write_text(RULES_WITH_AN_ACCENT)
    line = shell.format(command.replace("relay", f"{sys.executable} -m relay", 1))
    process = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize("command", ["--help", "check", "check --json"])
async def test_reader_that_leaves_is_no_traceback(command: str, lines: int) -> None:
    """A reader that leaves at once, or after a line."""
    Path("relay.toml").write_text(RULES_WITH_AN_ACCENT)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as output, os.fdopen(writing, "wb") as end:
        if not lines:
            output.close()
        process = await start_python("relay", *command.split(), stdout=end, stderr=asyncio.subprocess.PIPE)
        end.close()
        if lines:
            await asyncio.to_thread(output.readline)
            output.close()
        _, err = await process.communicate()
    assert (process.returncode in {0, 1}, err) == (True, b"")  # 1: it had more to say


async def test_characters_that_the_encoding_does_not_have_are_escaped() -> None:
    Path("✓.toml").write_text("")
    said = await relay("check", PYTHONIOENCODING="latin-1", RELAY_CONFIG="✓.toml")
    assert (said.code, said.out.splitlines()[-1]) == (0, r"\u2713.toml is valid.")


@pytest.mark.parametrize(
    "arguments",
    [["ledger"], ["dead", "list"], ["dead", "show", "--json"], ["dead", "replay", "--all"]],
    ids=" ".join,
)
async def test_unreachable_redis_is_one_message(arguments: list[str], no_redis: str) -> None:
    said = await main_here(*arguments, REDIS_URL=no_redis)
    assert said.code == 1
    assert said.is_one_message_without_traceback()
