"""relay.toml while it is watched: changes, invalid ones, and the end of watching."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.config.file import ConfigFile
from tests.building import OTHER_SECRET, SECRET
from tests.config.conftest import TOPIC, secrets_of, subscription
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import MutableMapping


@pytest.fixture
def fast_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the file every millisecond."""
    monkeypatch.setattr(ConfigFile.__init__, "__defaults__", (0.001,))


def topics_of(file: ConfigFile) -> list[str]:
    return [topic.name for topic in file.current.config.topics]


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
async def test_volume_that_kubernetes_replaces_is_picked_up(path: Path) -> None:
    volume = path.parent  # its files are links into the folder ..data, itself a link that the kubelet replaces

    def write(version: str, secret: str) -> None:
        (volume / version).mkdir()
        (volume / version / path.name).write_text(TOPIC + subscription("bot", "file:bot.key"))
        (volume / version / "bot.key").write_text(secret)
        (volume / "..data_tmp").symlink_to(version)
        (volume / "..data_tmp").rename(volume / "..data")

    write("..1", SECRET.text)
    for name in (path.name, "bot.key"):
        (volume / name).symlink_to(f"..data/{name}")
    async with ConfigFile(path) as file:
        assert secrets_of(file.current) == {"bot": SECRET}
        write("..2", OTHER_SECRET.text)
        await eventually(lambda: secrets_of(file.current) == {"bot": OTHER_SECRET})


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
        await eventually(lambda: secrets_of(file.current) == {"bot": SECRET})


@pytest.mark.parametrize("name", ["relay.toml", "bot.key"])
def test_change_right_after_the_read_is_picked_up(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    files = {path: subscription("bot", "file:bot.key") + TOPIC, path.parent / "bot.key": OTHER_SECRET.text}
    path.write_text(TOPIC + subscription("bot", "file:bot.key"))
    (path.parent / "bot.key").write_text(SECRET.text)
    changed = path.parent / name
    read = Path.read_text

    def read_before_it_changes(file: Path, *arguments: Any, **options: Any) -> str:
        text = read(file, *arguments, **options)
        if file == changed:
            monkeypatch.undo()
            file.write_text(files[file])
        return text

    monkeypatch.setattr(Path, "read_text", read_before_it_changes)
    file = ConfigFile(path)
    with capture_logs() as logs:
        file.check()
        file.check()
    assert [line["event"] for line in logs] == ["config.reloaded"]


@pytest.mark.usefixtures("fast_polling")
async def test_change_causes_a_single_reload(path: Path) -> None:
    path.write_text(TOPIC)
    (path.parent / "bot.key").write_text(SECRET.text)
    async with ConfigFile(path) as file:
        with capture_logs() as logs:
            path.write_text(TOPIC + subscription("bot", "file:bot.key"))
            await eventually(lambda: "bot" in secrets_of(file.current))
            for _ in range(3):
                file.check()
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
