from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.config.file import ConfigFile, Loaded, load_config, read_config
from relay.core.errors import ConfigError
from relay.core.secret import SigningSecret
from tests.building import OTHER_SECRET, SECRET
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import MutableMapping

TOPIC = '[[topics]]\nname = "t"\nevents = ["*"]\n'


def subscription(name: str, secret: str) -> str:
    return f'\n[[subscriptions]]\nname = "{name}"\ntopic = "t"\nurl = "https://a.b"\nsecret = "{secret}"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


@pytest.fixture
def fast_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the file every millisecond."""
    monkeypatch.setattr(ConfigFile.__init__, "__defaults__", (0.001,))


def topics_of(file: ConfigFile) -> list[str]:
    return [topic.name for topic in file.current.config.topics]


def secrets_of(loaded: Loaded) -> dict[str, SigningSecret]:
    """Return the only secret of each subscription."""
    found = {}
    for name, endpoint in loaded.endpoints.items():
        (found[name],) = endpoint.secrets
    return found


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


# --- watching -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fast_polling")
async def test_change_is_picked_up(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path) as file:
        path.write_text(TOPIC.replace('"t"', '"another"'))
        await eventually(lambda: topics_of(file) == ["another"])


@pytest.mark.usefixtures("fast_polling")
async def test_replaced_file_is_picked_up(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path) as file:
        new = path.with_suffix(".new")
        new.write_text(TOPIC.replace('"t"', '"u"'))
        os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        new.replace(path)
        await eventually(lambda: topics_of(file) == ["u"])


@pytest.mark.usefixtures("fast_polling")
async def test_secret_rotated_in_its_file_is_picked_up(path: Path) -> None:
    key = path.parent / "bot.key"
    key.write_text(SECRET.text)
    path.write_text(TOPIC + subscription("bot", "file:bot.key"))
    async with ConfigFile(path) as file:
        key.write_text(OTHER_SECRET.text + "\n")
        await eventually(lambda: secrets_of(file.current) == {"bot": OTHER_SECRET})


async def refused(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """Wait for log lines of refused changes and return them."""
    found: list[MutableMapping[str, Any]] = await eventually(
        lambda: [line for line in logs if line["event"] == "config.refused"]
    )
    return found


@pytest.mark.usefixtures("fast_polling")
async def test_invalid_change_is_refused_and_old_rules_stay(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path) as file:
        before = file.current
        with capture_logs() as logs:
            path.write_text("colour = 1\nsize = 2\n")
            (line,) = await refused(logs)
        assert line["log_level"] == "error"
        assert line["problems"] == [f'{path}:1 colour: unknown key "colour"', f'{path}:2 size: unknown key "size"']
        assert file.current is before


@pytest.mark.usefixtures("fast_polling")
async def test_repaired_change_is_picked_up(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path) as file:
        with capture_logs() as logs:
            path.write_text("nonsense")
            await refused(logs)
        path.write_text(TOPIC.replace('"t"', '"repaired"'))
        await eventually(lambda: topics_of(file) == ["repaired"])


@pytest.mark.usefixtures("fast_polling")
async def test_removed_file_leaves_the_old_rules(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path) as file:
        with capture_logs() as logs:
            path.unlink()
            await refused(logs)
        assert topics_of(file) == ["t"]
        path.write_text(TOPIC.replace('"t"', '"back"'))
        await eventually(lambda: topics_of(file) == ["back"])


@pytest.mark.usefixtures("fast_polling")
async def test_removed_secret_leaves_the_old_one(path: Path) -> None:
    key = path.parent / "bot.key"
    key.write_text(SECRET.text)
    path.write_text(TOPIC + subscription("bot", "file:bot.key"))
    async with ConfigFile(path) as file:
        with capture_logs() as logs:
            key.unlink()
            (line,) = await refused(logs)
        assert "bot.key cannot be read" in line["problems"][0]
        assert secrets_of(file.current) == {"bot": SECRET}


def watcher() -> asyncio.Task[None]:
    """Return the task that watches the file."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "config file"]
    return task


@pytest.mark.usefixtures("fast_polling")
async def test_watching_ends_with_the_context(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path):
        task = watcher()
    assert task.cancelled()


def test_valid_change_is_logged_with_its_counts(path: Path) -> None:
    path.write_text(TOPIC)
    file = ConfigFile(path)
    path.write_text(TOPIC + subscription("bot", SECRET.text))
    with capture_logs() as logs:
        file.reload()
    (line,) = logs
    assert (line["event"], line["topics"], line["subscriptions"]) == ("config.reloaded", 1, 1)
    assert SECRET.text not in str(line)


def test_rules_are_replaced_as_a_whole(path: Path) -> None:
    path.write_text(TOPIC + subscription("bot", SECRET.text))
    file = ConfigFile(path)
    before = file.current
    path.write_text(TOPIC + subscription("crm", OTHER_SECRET.text))
    file.reload()
    assert (before.config.subscriptions[0].name, secrets_of(before)) == ("bot", {"bot": SECRET})
    assert (file.current.config.subscriptions[0].name, secrets_of(file.current)) == ("crm", {"crm": OTHER_SECRET})


async def test_secret_created_after_the_rules_is_picked_up(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path, 0) as file:
        with capture_logs() as logs:
            path.write_text(TOPIC + subscription("bot", "file:bot.key"))
            await refused(logs)
        (path.parent / "bot.key").write_text(SECRET.text)
        for _ in range(50):  # enough time for 50 checks
            await asyncio.sleep(0)
        assert secrets_of(file.current) == {"bot": SECRET}


@pytest.mark.usefixtures("fast_polling")
async def test_change_causes_a_single_reload(path: Path) -> None:
    path.write_text(TOPIC)
    (path.parent / "bot.key").write_text(SECRET.text)
    async with ConfigFile(path) as file:
        with capture_logs() as logs:
            path.write_text(TOPIC + subscription("bot", "file:bot.key"))
            await eventually(lambda: "bot" in secrets_of(file.current))
            await eventually(lambda: file._last_seen == file._signature())
        assert [line["event"] for line in logs] == ["config.reloaded"]


@pytest.mark.usefixtures("fast_polling")
async def test_watch_survives_any_change(path: Path) -> None:
    path.write_text(TOPIC)
    async with ConfigFile(path):
        task = watcher()
        path.write_text("x = " + "1" * 5000)
        with capture_logs() as logs:
            await eventually(lambda: task.done() or logs)
        assert not task.done(), task.exception()


def test_secret_is_kept_as_written(path: Path) -> None:
    path.write_text(TOPIC + subscription("bot", "whsec_AAECAw"))
    assert secrets_of(load_config(path)) == {"bot": SigningSecret("whsec_AAECAw")}


def test_byte_order_mark_is_ignored(path: Path) -> None:
    path.write_text(TOPIC, encoding="utf-8-sig")
    assert [topic.name for topic in read_config(path).topics] == ["t"]
