"""`linq-relay-consumer`: its files, what it needs, and its README's programs, with both ends of redis-py."""

from __future__ import annotations

import asyncio
import re
import sys
import tarfile
import tomllib
import zipfile
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from relay import __version__
from tests.building import LINE, body_of
from tests.deploy.consumer_package import (
    MYPY_CACHE,
    PROJECT,
    ROOT,
    Environment,
    build,
    clean,
    installed,
    linked,
    run,
    unpacked,
)
from tests.docs.pages import Page
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from relay.store.driver.client import Redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]  # seconds; the first run downloads

SOURCE = ROOT / "relay" / "consumer"
README = Page(PROJECT / "README.md")
PROGRAMS = README.blocks("python")
OLDEST_REDIS_PY, NEWEST_REDIS_PY = "5.0.0", "8.1.0"
"""The oldest release that pyproject.toml allows, and the newest when this was last changed."""
NEWEST_FOR_PYTHON_3_9 = ("redis==7.0.1", "async-timeout==5.0.1")
STREAM = KEYS.topic("support")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout."""
    return build(tmp_path_factory.mktemp("wheel"), "wheel")


def test_wheel_is_the_folder_of_the_relay_and_needs_redis_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        packed = {name: files.read(name) for name in files.namelist()}
    source = {
        f"linq_relay_consumer/{path.relative_to(SOURCE)}": path.read_bytes()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"linq_relay_consumer-{__version__}.dist-info"
    assert {name: text for name, text in packed.items() if not name.startswith(about)} == source
    assert "linq_relay_consumer/py.typed" in source
    assert packed[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    metadata = packed[f"{about}/METADATA"].decode()
    assert [line for line in metadata.splitlines() if line.startswith("Requires-")] == [
        "Requires-Python: >=3.9",
        "Requires-Dist: redis>=5",
    ]
    assert README.text in metadata
    backend = tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]
    assert backend == tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]


def test_source_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sources = [build(tmp_path / name, "sdist") for name in ("first", "second")]
    assert sources[0].read_bytes() == sources[1].read_bytes()
    with tarfile.open(sources[0]) as archive:
        assert all(member.isfile() for member in archive)  # no link leads out of it
        archive.extractall(tmp_path, filter="data")
    again = build(tmp_path / "built", "wheel", tmp_path / sources[0].name.removesuffix(".tar.gz"))
    assert again.read_bytes() == wheel.read_bytes()


def test_source_of_the_relay_has_the_package_once(tmp_path: Path) -> None:
    with tarfile.open(build(tmp_path, "sdist", ROOT)) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    packed = {name for name in names if name.startswith("relay/consumer/")}
    assert packed == {str(path.relative_to(ROOT)) for path in SOURCE.rglob("*.*") if path.suffix in {".py", ".typed"}}
    assert not [name for name in names if "linq_relay_consumer" in name]


async def test_programs_work_as_pip_installs_them(wheel: Path, redis: Redis, redis_url: str, tmp_path: Path) -> None:
    environment = await asyncio.to_thread(installed, wheel, OLDEST_REDIS_PY, tmp_path / "venv")
    packages = await asyncio.to_thread(environment.packages)
    assert (packages.pop("linq-relay-consumer"), packages.pop("redis")) == (__version__, OLDEST_REDIS_PY)
    assert packages.keys() <= {"async-timeout", "pyjwt"}  # what redis-py itself needs
    await work(environment, written(tmp_path, redis_url), redis)


async def test_programs_are_typed_and_work(wheel: Path, redis: Redis, redis_url: str, tmp_path: Path) -> None:
    environment = await asyncio.to_thread(linked, wheel, NEWEST_REDIS_PY, tmp_path / "venv")
    assert environment.run("-c", "import redis; print(redis.__version__)", directory=tmp_path) == f"{NEWEST_REDIS_PY}\n"
    programs = written(tmp_path, redis_url)
    await work(environment, programs, redis)
    await asyncio.to_thread(check_types, environment, tmp_path, programs.values())


@pytest.mark.needs_tool("pypy3")
async def test_programs_work_on_python_3_9(wheel: Path, redis: Redis, redis_url: str, tmp_path: Path) -> None:
    environment = await asyncio.to_thread(unpacked, wheel, tmp_path / "packages", "pypy3", *NEWEST_FOR_PYTHON_3_9)
    version = environment.run("-c", "import sys; print(sys.version_info[:2])", directory=tmp_path)
    assert version == "(3, 9)\n"
    await work(environment, written(tmp_path, redis_url), redis)


def written(directory: Path, redis_url: str) -> dict[str, Path]:
    """Write the programs of the README for this Redis, each with a group of its own; return their files by group."""
    files = {f"group-{number}": directory / f"program_{number}.py" for number in range(len(PROGRAMS))}
    for program, (group, file) in zip(PROGRAMS, files.items(), strict=True):
        here, found = re.subn(
            '"redis://localhost", topic="support", group="[a-z]+"',
            f'"{redis_url}", topic="support", group="{group}"',
            program,
        )
        assert found == 1, program
        file.write_text(here)
    return files


def check_types(environment: Environment, directory: Path, programs: Iterable[Path]) -> None:
    """Check the types of programs against the package as it is installed."""
    options = ("--strict", "--python-version", "3.10", "--python-executable", environment.python)
    kept = ("--cache-dir", str(MYPY_CACHE))
    run(sys.executable, "-m", "mypy", *options, *kept, *map(str, programs), directory=directory)


async def work(environment: Environment, programs: dict[str, Path], redis: Redis) -> None:
    """Run programs: each gets the event that was there and one that comes, and leaves nothing behind at SIGTERM."""
    await add(redis, "first")
    async with AsyncExitStack() as stack:
        running = {
            group: await stack.enter_async_context(started(environment, file)) for group, file in programs.items()
        }
        for event in ("first", "second"):
            for process in running.values():
                assert process.stdout is not None
                assert (await process.stdout.readline()).startswith(b"message.received "), event
            if event == "first":
                await add(redis, "second")
        for process in running.values():
            process.terminate()
        said = [await process.communicate() for process in running.values()]
        assert said == [(b"", b"")] * len(running)
        assert {process.returncode for process in running.values()} == {0}
    for group in programs:
        assert (await redis.xpending(STREAM, group))["pending"] == 0
        assert await redis.xinfo_consumers(STREAM, group) == []


@asynccontextmanager
async def started(environment: Environment, program: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program while the context is open."""
    process = await asyncio.create_subprocess_exec(
        *(environment.python, str(program)),
        env=clean(environment.variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def add(redis: Redis, event_id: str) -> None:
    """Add an event to the topic."""
    body = body_of("message.received", event_id)
    fields = {"id": event_id, "type": "message.received", "line": LINE, "chat": "chat-1", "at": "1", "body": body}
    await redis.xadd(STREAM, fields)  # type: ignore[arg-type]  # its dict is invariant
