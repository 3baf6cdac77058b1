from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from relay.store.driver.ordered_connection import OrderedConnection
from relay.store.driver.scripts import LONG, Script

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Return a script that returns what it is given."""
    package = ModuleType("package_of_echo")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    (tmp_path / "echo.lua").write_text("#!lua flags=no-writes\nreturn { KEYS, ARGV }\n")
    return Script(package.__name__, "echo")


def of(*lengths: int) -> list[bytes]:
    """Return arguments of these lengths, with bytes that the protocol uses between arguments."""
    return [(b"%d\r\n$1\r\n\0\xff" % at * (length // 9 + 1))[:length] for at, length in enumerate(lengths)]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="none"),
        pytest.param(of(0, 1, LONG), id="copied"),
        pytest.param(of(LONG + 1), id="sent as it is"),
        pytest.param(of(5, LONG + 1, 0, 3), id="between others"),
        pytest.param(of(9000, 9001, 7, 9002), id="beside each other"),
        pytest.param(of(*[12, 10_240, 0] * 256), id="more than a socket takes at once"),
        pytest.param(of(1024 * 1024, 3), id="a megabyte"),
    ],
)
async def test_arguments_arrive_as_they_are(redis: Redis, echo: Script, arguments: list[bytes]) -> None:
    line = OrderedConnection(redis)
    try:
        assert await echo(redis, ["one", "two"], arguments) == [[b"one", b"two"], arguments]
        for has_long in (False, True):
            reply = await echo.in_order(line, [], [17, "text", *arguments], has_long=has_long)
            assert reply == [[], [b"17", b"text", *arguments]]
    finally:
        await line.aclose()
