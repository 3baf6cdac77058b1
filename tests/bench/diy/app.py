"""The ingress that most teams would write: FastAPI, an HMAC check, `SET NX` against duplicates, one arq job per event.

DIY_REDIS_URL=... DIY_SECRET=... uvicorn tests.bench.diy.app:app --loop uvloop --http httptools --no-access-log
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_WINDOW = 6 * 3600
_TOLERANCE = 300
_KEY = base64.b64decode(os.environ["DIY_SECRET"].removeprefix("whsec_"))


class Envelope(BaseModel):
    event_id: str
    event_type: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.redis = await create_pool(RedisSettings.from_dsn(os.environ["DIY_REDIS_URL"]))
    yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/webhooks/linq")
async def receive(
    request: Request,
    webhook_id: Annotated[str, Header()],
    webhook_timestamp: Annotated[int, Header()],
    webhook_signature: Annotated[str, Header()],
) -> dict[str, str]:
    body = await request.body()
    signed = f"{webhook_id}.{webhook_timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(_KEY, signed, hashlib.sha256).digest()).decode()
    is_fresh = abs(time.time() - webhook_timestamp) < _TOLERANCE
    if not is_fresh or not any(hmac.compare_digest(expected, signature) for signature in webhook_signature.split(" ")):
        raise HTTPException(401)
    event = Envelope.model_validate_json(body)
    redis = request.app.state.redis
    if not await redis.set(f"seen:{event.event_id}", "", nx=True, ex=_WINDOW):
        return {"status": "repeat"}
    await redis.enqueue_job("deliver", webhook_id, event.event_type, body)
    return {"status": "accepted"}
