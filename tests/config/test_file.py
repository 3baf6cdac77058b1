from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.config.file import ConfigFile, load_config, read_config
from relay.core.errors import ConfigError
from relay.core.secret import SigningSecret
from tests.building import OTHER_SECRET, SECRET
from tests.config.conftest import TOPIC, secrets_of, subscription


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [str(problem) for problem in caught.value.problems]


# --- reading --------------------------------------------------------------------------------------


def test_file_is_read_with_its_secrets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_SECRET", SECRET.text)
    (path.parent / "crm.key").write_text(f"\n {OTHER_SECRET.text}\n")
    path.write_text(
        TOPIC
        + subscription("bot", "env:BOT_SECRET")
        + subscription("crm", "file:crm.key")
        + subscription("log", SECRET.text)
    )
    assert secrets_of(load_config(path)) == {"bot": SECRET, "crm": OTHER_SECRET, "log": SECRET}


def test_missing_secret_is_reported_in_file_order(path: Path) -> None:
    path.write_text(TOPIC.replace('"t"', '"a b"') + subscription("bot", "env:NOWHERE") + '[[topics]]\nname = "late"\n')
    first, second, third, fourth = problems_of(path)
    assert '"a b" is not a name' in first
    assert 'there is no topic "t"' in second
    assert "NOWHERE is not set" in third
    assert '"events" is missing' in fourth


def test_secret_files_are_relative_to_relay_toml(path: Path) -> None:
    rules = path.parent / "etc" / "rules.toml"
    (rules.parent / "keys").mkdir(parents=True)
    (rules.parent / "keys" / "bot").write_text(SECRET.text)
    absolute = path.parent / "elsewhere.key"
    absolute.write_text(OTHER_SECRET.text)
    rules.write_text(TOPIC + subscription("bot", "file:keys/bot") + subscription("crm", f"file:{absolute}"))
    assert secrets_of(load_config(rules)) == {"bot": SECRET, "crm": OTHER_SECRET}


def test_secret_variables_may_be_in_dotenv(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"BOT_SECRET={SECRET.text}\nCRM_SECRET={SECRET.text}\n")
    monkeypatch.setenv("CRM_SECRET", OTHER_SECRET.text)
    path.write_text(TOPIC + subscription("bot", "env:BOT_SECRET") + subscription("crm", "env:CRM_SECRET"))
    assert secrets_of(load_config(path)) == {"bot": SECRET, "crm": OTHER_SECRET}


def test_rules_can_be_read_without_their_secrets(path: Path) -> None:
    path.write_text(TOPIC + subscription("bot", "env:NOWHERE"))
    assert [entry.name for entry in read_config(path).subscriptions] == ["bot"]


def test_all_missing_secrets_are_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("ODD", "hunter2!")
    (path.parent / "odd.key").write_text("hunter2!")
    (path.parent / "empty.key").write_text("\n")
    (path.parent / "binary.key").write_bytes(b"\xff\xfe")
    path.write_text(
        TOPIC
        + subscription("a", "env:NOWHERE")
        + subscription("b", "env:EMPTY")
        + subscription("c", "env:ODD")
        + subscription("d", "file:nowhere.key")
        + subscription("e", "file:odd.key")
        + subscription("f", "file:empty.key")
        + subscription("g", "file:binary.key")
        + subscription("h", "file:.")
        + subscription("i", "whsec_hunter2!")
        + subscription("fine", SECRET.text)
    )
    problems = problems_of(path)
    for problem, (name, sentence) in zip(
        problems,
        [
            ("a", "the environment variable NOWHERE is not set"),
            ("b", "the environment variable EMPTY is not set"),
            ("c", "the secret is not whsec_ and base64"),
            ("d", "nowhere.key cannot be read: "),
            ("e", "the secret is not whsec_ and base64"),
            ("f", "the secret is not whsec_ and base64"),
            ("g", "binary.key cannot be read: "),
            ("h", ". cannot be read: "),
            ("i", "the secret is not whsec_ and base64"),
        ],
        strict=True,
    ):
        assert re.match(rf"{path}:\d+ subscriptions\[\d\].secret: {name}: {re.escape(sentence)}", problem)
    assert "hunter2" not in "".join(problems)


def test_missing_file_is_an_error(path: Path) -> None:
    assert problems_of(path) == [
        f"{path}: no such file; create it (the README has an example) or set RELAY_CONFIG to its path"
    ]  # fmt: skip


def test_unreadable_file_is_an_error(path: Path) -> None:
    path.mkdir()
    assert problems_of(path)[0].startswith(f"{path}: ")


def test_non_utf8_file_is_an_error(path: Path) -> None:
    path.write_bytes(b'name = "\xff"')
    assert "utf-8" in problems_of(path)[0]


def test_mistakes_are_reported_with_the_path(path: Path) -> None:
    path.write_text("colour = 1\n")
    assert problems_of(path) == [f'{path}:1 colour: unknown key "colour"']


def test_invalid_file_at_start_is_an_error(path: Path) -> None:
    path.write_text("nonsense")
    with pytest.raises(ConfigError):
        ConfigFile(path)


def test_secret_is_kept_as_written(path: Path) -> None:
    path.write_text(TOPIC + subscription("bot", "whsec_AAECAw"))
    assert secrets_of(load_config(path)) == {"bot": SigningSecret("whsec_AAECAw")}


def test_byte_order_mark_is_ignored(path: Path) -> None:
    path.write_text(TOPIC, encoding="utf-8-sig")
    assert [topic.name for topic in read_config(path).topics] == ["t"]
