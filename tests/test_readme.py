"""The README says what is: its names exist, all names stand in it, and what it shows can be run."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from relay.cli.program import app
from relay.config.settings import Settings
from relay.core.config.linq import LinqConfig
from relay.core.config.relay_toml import parse_config
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.store import keys
from relay.store.topics.record import fields_of
from tests.building import LINE, body_of
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from redis.asyncio import Redis

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table under `heading`, without its head."""
    section = README.split(f"### {heading}\n", 1)[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def commands(group: Any, path: str = "relay") -> Iterator[str]:
    names = group.list_commands(None) if hasattr(group, "list_commands") else []
    if not names or getattr(group, "invoke_without_command", False):
        yield path
    for name in names:
        yield from commands(group.get_command(None, name), f"{path} {name}")


def test_every_variable_stands_in_the_table_with_its_default() -> None:
    table = {row[0].strip("`"): row[1].strip("`") for row in rows("Environment")}
    defaults = {}
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        defaults[name.upper()] = "6h" if name == "relay_dedupe_window" else default
    assert table == defaults


def test_every_command_stands_in_the_table_and_exists() -> None:
    shown = {re.sub(r" FILE$", "", name) for row in rows("Commands") for name in re.findall(r"`(relay [^`]+)`", row[0])}
    assert shown == set(commands(typer.main.get_command(app)))


def test_every_option_it_mentions_exists() -> None:
    text = " ".join(README.split())
    for options, command in [
        (("--once",), ["demo"]),
        (("--processes",), ["ingress"]),
        (("--processes",), ["worker"]),
        (("--ingress-processes", "--worker-processes"), ["up"]),
        (("--subscription", "--id", "--all", "--type", "--since", "--dry-run", "--rate"), ["dead", "replay"]),
        (("--topic", "--to", "--since", "--until", "--type", "--line", "--rate", "--dry-run"), ["replay"]),
        (("--topic", "--group", "--to", "--yes"), ["rewind"]),
        (("--allow-local", "--rate", "--speed"), ["sandbox"]),
        (("--line",), ["explain"]),
    ]:
        known: Any = typer.main.get_command(app)
        for name in command:
            known = known.get_command(None, name)
        offered = {option for parameter in known.params for option in parameter.opts}
        assert set(options) <= offered
        assert all(option in text for option in options)


def test_its_rules_are_good() -> None:
    config = parse_config(blocks("toml")[0])
    assert [topic.name for topic in config.topics] == ["support", "everything"]
    assert config.subscriptions[0].retry == (5.0, 30.0, 120.0, 600.0)


def test_its_table_for_linq_is_good_and_whole_and_its_defaults_are_true() -> None:
    text = blocks("toml")[1]
    shown, default = parse_config(text).linq, LinqConfig()
    options = set(re.findall(r"^(?:# )?(\w+) =", text, flags=re.MULTILINE))
    assert options == set(LinqConfig.model_fields) - {"v2"}  # a table of its own
    for key in options - {"lines", "exclude", "events"}:
        assert getattr(shown, key) == getattr(default, key), key


def test_both_of_its_main_commands_are_there_and_ci_calls_the_second() -> None:
    first, *_, last = blocks("sh")
    assert (first.strip(), last.strip()) == ("sh deploy/demo.sh", "sh tests/run.sh")
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec sh tests/run.sh"


def test_every_file_it_names_exists() -> None:
    for name in re.findall(r"`((?:relay|workers|deploy|tests)/[\w/.]+)`", README):
        assert (ROOT / name).exists(), name


def test_the_documented_fields_are_those_of_a_record() -> None:
    body = body_of(
        "message.received",
        chat={"id": "c", "is_group": True},
        id="m",
        direction="inbound",
        service="RCS",
        reconciled_at="2026-09-14T09:15:02Z",
    )
    event = decode(Dialect.V3, body, LINE).event
    written = set(fields_of(event, 1, "another", body)[::2])
    documented = {name for row in rows("Fields of a topic's stream") for name in re.findall(r"`(\w+)`", row[0])}
    assert written == documented - {"0", "1", "history"}


async def test_its_five_lines_read_a_stream(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    [program] = blocks("python")
    script = tmp_path / "billing.py"
    script.write_text(program.replace("redis://localhost", redis_url))
    body = body_of("message.received", "e1", text="hello")
    await redis.xadd(keys.topic("support"), {"id": "e1", "type": "message.received", "line": LINE, "body": body})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(script)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
    assert line.startswith("message.received +16465550123 {")
    process.terminate()
    await process.communicate()


def test_its_rules_and_secrets_pass_relay_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "relay.toml").write_text(blocks("toml")[0])
    made = subprocess.run(
        [sys.executable, "-m", "relay", "secret", "generate"], capture_output=True, text=True, check=True
    )
    monkeypatch.setenv("SUPPORT_BOT_SECRET", made.stdout.strip())
    done = subprocess.run([sys.executable, "-m", "relay", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_python_and_dependencies_are_what_pyproject_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in README


async def test_the_demo_plays_once_and_its_ledger_balances() -> None:
    process = await asyncio.create_subprocess_exec(
        *("sh", str(ROOT / "deploy" / "demo.sh"), "--once"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "The ledger balances." in output.decode()
    await eventually(lambda: process.returncode == 0)
