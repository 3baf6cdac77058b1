"""`relay init`: files to start with, that `relay check` accepts and that are never overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config.file import load_config
from relay.config.settings import Settings
from tests.cli.running import main_here


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_init_writes_files_that_check_accepts() -> None:
    said = await main_here("init")
    assert said.code == 0
    assert all(text in said.out for text in ("relay.toml is written.", ".env is written.", "relay check", "relay up"))
    checked = await main_here("check", "--json")
    assert (checked.code, checked.json["warnings"]) == (0, [])
    settings = Settings.load("relay_secret_key")
    assert settings.relay_secret_key is not None
    assert Path(".env").stat().st_mode & 0o077 == 0


async def test_commented_examples_are_valid_too() -> None:
    await main_here("init")
    lines = Path("relay.toml").read_text(encoding="utf-8").splitlines()
    code = [
        line.removeprefix("# ") if line.startswith("# ") and ("=" in line or "[[" in line) else line for line in lines
    ]
    Path("relay.toml").write_text("\n".join(code), encoding="utf-8")
    config = load_config(Path("relay.toml")).config
    assert ([topic.name for topic in config.topics], len(config.subscriptions)) == (["everything", "support"], 1)


async def test_secrets_are_new_each_time() -> None:
    await main_here("init")
    first = Path(".env").read_text(encoding="utf-8")
    Path(".env").unlink()
    said = await main_here("init")
    assert said.code == 0
    assert "relay.toml exists already and is unchanged." in said.out
    assert Path(".env").read_text(encoding="utf-8") != first


async def test_existing_files_are_never_overwritten() -> None:
    before = {"relay.toml": "# mine", ".env": "X=1"}
    for name, text in before.items():
        Path(name).write_text(text, encoding="utf-8")
    said = await main_here("init")
    assert said.code == 1
    assert said.is_one_message_without_traceback()
    assert (Path("relay.toml").read_text(encoding="utf-8"), Path(".env").read_text(encoding="utf-8")) == (
        "# mine",
        "X=1",
    )
