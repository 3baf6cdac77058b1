"""The admin listener of a group: every process is seen, also one that is not ready, hangs or has ended."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from relay.config.settings import Settings
from relay.process.lifecycle import Lifecycle
from relay.process.supervisor import Program, supervise
from relay.web.admin.group import Group, open_group
from relay.web.admin.report import Identity
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PROCESS = """
import json, os, pathlib, socket, sys, time
listener = socket.socket(fileno=int(os.environ["_RELAY_ADMIN_SOCKET"]))
while True:
    connection, _ = listener.accept()
    path = connection.recv(4096).split()[1].decode()
    said = json.loads(pathlib.Path(sys.argv[1]).read_text())
    if said == "end":
        sys.exit(7)
    if said != "hang":
        body = json.dumps({"live": True} if path == "/live" else {"ready": not said, "checks": said}).encode()
        head = "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: " + str(len(body))
        connection.sendall(head.encode() + b"\\r\\n\\r\\n" + body)
        connection.close()
"""


async def test_each_process_is_seen(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("ingress 1", "ingress 2")}

    def says(name: str, result: object) -> None:
        files[name].write_text(json.dumps(result))

    async def second(result: str) -> bool:
        """Return True if the second process has this result and the first is well; `/ready` agrees in any case."""
        report = await group.ready()
        checks = report["checks"]
        assert report["ready"] == (checks["ingress 1"] == checks["ingress 2"] == "ok")
        return checks["ingress 1"] == "ok" and result in checks["ingress 2"]

    async def hung() -> list[str]:
        live = await group.live()
        assert live["live"] == (not live["hung"])
        return list(live["hung"])

    stop = asyncio.Event()
    async with (
        open_group(Identity("ingress", Settings()), Lifecycle(), timeout=0.2) as group,
        AsyncExitStack() as stack,
    ):
        programs: list[Program] = []
        for name, file in files.items():
            says(name, {})
            programs += group.add(name, [sys.executable, "-c", PROCESS, str(file)], 1)
        supervising = asyncio.create_task(supervise(programs, stop))
        stack.push_async_callback(asyncio.wait, [supervising])
        stack.callback(stop.set)
        await eventually(lambda: all(member.program.status.pid for member in group.members))
        await eventually(all_ready(group))
        says("ingress 2", {"keyring": "no secret is stored", "redis": "ok"})
        await eventually(lambda: second("keyring: no secret is stored"))
        await eventually(lambda: is_now(hung(), []))
        says("ingress 2", "hang")
        await eventually(lambda: second("no longer responds"))
        await eventually(lambda: is_now(hung(), ["ingress 2"]))
        says("ingress 2", "end")
        await eventually(lambda: second("not running (it ended with exit code 7)"))
        await eventually(lambda: is_now(hung(), []))  # the supervisor restarts it
        says("ingress 2", {})
        await eventually(lambda: second("ok"))
    assert supervising.result() == 0


async def is_now(value: Awaitable[object], wanted: object) -> bool:
    return await value == wanted


def all_ready(group: Group) -> Callable[[], Awaitable[bool]]:
    async def are_ready() -> bool:
        return bool((await group.ready())["ready"])

    return are_ready
