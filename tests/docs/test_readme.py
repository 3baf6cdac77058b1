"""README.md: short, true, and everything it shows can be run."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from relay.core.config.relay_toml import parse_config
from tests.building import LINE, body_of
from tests.cli.running import relay
from tests.docs.pages import DOCS, README, ROOT, page
from tests.support import KEYS, TIMEOUT, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis


def test_it_is_one_page() -> None:
    assert len(README.text.splitlines()) <= 160


def test_its_rules_are_valid() -> None:
    config = parse_config(README.blocks("toml")[0])
    assert [topic.name for topic in config.topics] == ["support", "everything"]
    assert config.subscriptions[0].retry == (5.0, 30.0, 120.0, 600.0)


async def test_its_rules_and_secrets_pass_relay_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "relay.toml").write_text(README.blocks("toml")[0])
    monkeypatch.setenv("SUPPORT_BOT_SECRET", (await relay("secret", "generate")).out.strip())
    checked = await relay("check")
    assert checked.code == 0, checked.err


def test_its_two_commands_exist_and_ci_calls_the_second() -> None:
    commands = [line.split("#")[0].strip() for line in README.blocks("sh")[0].splitlines()]
    assert commands == ["sh deploy/demo.sh", "sh tests/run.sh"]
    assert all((ROOT / command.split()[1]).is_file() for command in commands)
    called = [line.removeprefix("exec ") for line in (ROOT / ".ci" / "run").read_text().splitlines()[-2:]]
    assert called == ["sh tests/run.sh", 'sh tests/run.sh --cluster -m "not background"']


def test_it_links_every_page_of_the_documentation() -> None:
    index = page("README.md")
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= set(index.links())
    assert "deploy/docs/README.md" in README.links()


def test_its_speed_is_what_the_bench_measured() -> None:
    measured = (ROOT / "tests" / "bench" / "results.md").read_text(encoding="utf-8")
    for _, *figures in README.rows("Speed")[:4]:
        numbers = [word for figure in figures for word in figure.replace("/s", "").split() if word[0].isdigit()]
        assert numbers
        assert all(f"| {number} |" in measured for number in numbers), figures


def test_its_python_is_what_pyproject_requires() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in README.text


async def test_its_consumer_reads_a_stream(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    [program] = README.blocks("python")
    assert program.split() == page("deliveries.md").blocks("python")[0].split()
    script = tmp_path / "billing.py"
    script.write_text(program.replace("redis://localhost", redis_url))
    body = body_of("message.received", "e1", text="hello")
    await redis.xadd(KEYS.topic("support"), {"id": "e1", "type": "message.received", "line": LINE, "body": body})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(script)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        line = (await process.stdout.readline()).decode()
    assert line.startswith("message.received +16465550123 {")
    process.terminate()
    await process.communicate()


@pytest.mark.background
@pytest.mark.timeout(180)  # seconds, also on a busy machine
async def test_the_demo_plays_once_and_its_ledger_balances() -> None:
    process = await asyncio.create_subprocess_exec(
        *("sh", str(ROOT / "deploy" / "demo.sh"), "--once"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(150):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "The ledger balances." in output.decode()
    await eventually(lambda: process.returncode == 0)
