"""A real Prometheus, which scrapes what a test or a recording runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.support import reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def prometheus(directory: Path, config: str) -> AsyncIterator[str]:
    """Run a Prometheus with a configuration in YAML, and its data in `directory`; yield its URL."""
    file = directory / "prometheus.yml"
    file.write_text(config, encoding="utf-8")
    address = f"127.0.0.1:{reserve_port()}"
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        await process.wait()
