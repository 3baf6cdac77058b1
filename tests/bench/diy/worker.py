"""The worker that goes with `app`: one arq job per event, which POSTs it with httpx and retries failures.

    DIY_REDIS_URL=... DIY_TARGET=http://... python -m tests.bench.diy.worker

Tuned as far as arq's settings go: on uvloop, polling for jobs a hundred times a second, a hundred at once, no results
kept, nothing logged. Without DIY_TARGET a job only decides where its event is routed.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import uvloop
from arq import Retry
from arq.connections import RedisSettings
from arq.worker import create_worker

_TARGET = os.environ.get("DIY_TARGET", "")
_DELAYS = (5, 15, 30, 60, 120)
_TOPICS = {"message": ("messages", "everything")}


async def start_up(ctx: dict[str, Any]) -> None:
    ctx["http"] = httpx.AsyncClient(timeout=10)


async def shut_down(ctx: dict[str, Any]) -> None:
    await ctx["http"].aclose()


async def deliver(ctx: dict[str, Any], webhook_id: str, event_type: str, body: bytes) -> None:
    if not _TARGET:
        _TOPICS.get(event_type.split(".", maxsplit=1)[0])
        return
    headers = {"content-type": "application/json", "webhook-id": webhook_id}
    try:
        answer = await ctx["http"].post(_TARGET, content=body, headers=headers)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Retry(defer=_DELAYS[min(ctx["job_try"], len(_DELAYS)) - 1]) from error


class Worker:
    """Settings of arq."""

    functions = (deliver,)
    on_startup = start_up
    on_shutdown = shut_down
    redis_settings = RedisSettings.from_dsn(os.environ["DIY_REDIS_URL"])
    max_jobs = 100
    max_tries = 6
    poll_delay = 0.01
    keep_result = 0


async def main() -> None:
    """Work until SIGTERM."""
    try:
        await create_worker(Worker).async_run()  # type: ignore[arg-type]  # typed for a protocol with every setting
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    uvloop.run(main())
