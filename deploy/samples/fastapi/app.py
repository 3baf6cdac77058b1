"""Push handler in FastAPI: verifies what the relay signed, handles each event once, and responds.

WEBHOOK_SECRET="whsec_..." uvicorn app:app --port 9000

Respond only when the event is safe: after 2xx the relay never sends it again, and without a response in ten seconds, or
after 5xx, it sends it again later. Work that takes longer belongs in a queue that survives a restart; `handle` then
only writes to it.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY = 10 * 1024 * 1024
MAX_HANDLED = 100_000

# One secret; while it is rotated two, separated by a space: either may have signed.
WEBHOOKS = [Webhook(secret) for secret in os.environ["WEBHOOK_SECRET"].split()]
if not WEBHOOKS:
    raise SystemExit('WEBHOOK_SECRET is empty; set it to the secret of the subscription, "whsec_..."')

# The ids of the last events that were handled, and of those that are being handled now. They are in memory: gone after
# a restart, and each process has its own. To have each event once whatever happens, keep the id in your database
# instead, as the primary key of a table, written in the same transaction as what the event changes.
handled: OrderedDict[str, None] = OrderedDict()
running: set[str] = set()

app = FastAPI()


async def handle(event_id: str, event: dict[str, Any]) -> None:
    """Do your work here; raise an error to get the event again."""
    print("handled", event_id, event["event_type"], flush=True)  # noqa: T201  the sample's only output


@app.post("/webhooks/linq", status_code=204)
async def receive(request: Request) -> Response:
    """Verify a request of the relay, and handle its event unless that was done before."""
    body = await read(request)
    event = verified(body, request)
    event_id = request.headers["webhook-id"]
    if event_id in handled:
        return Response(status_code=204)
    if event_id in running:  # the relay did not wait for the first response; let it ask again
        raise HTTPException(503, "this event is being handled")
    running.add(event_id)
    try:
        await handle(event_id, event)
    finally:
        running.discard(event_id)
    handled[event_id] = None
    if len(handled) > MAX_HANDLED:
        handled.popitem(last=False)
    return Response(status_code=204)


async def read(request: Request) -> bytes:
    """Return the body as it was sent: the signature is about these bytes, not about the JSON in them."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes")
    return bytes(body)


def verified(body: bytes, request: Request) -> dict[str, Any]:
    """Return the event if one of the secrets signed it in the last five minutes; refuse it otherwise."""
    reason = ""
    for webhook in WEBHOOKS:
        try:
            webhook.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:  # ValueError: a header that is not even formed like one
            reason = str(error)
        else:
            return parsed(body)
    raise HTTPException(401, f"not signed by the relay: {reason}")


def parsed(body: bytes) -> dict[str, Any]:
    """Return the event of a verified body."""
    try:
        event = json.loads(body)
    except ValueError as error:
        raise HTTPException(400, f"not JSON: {error}") from error
    if not isinstance(event, dict) or "event_type" not in event:
        raise HTTPException(400, "not an event of Linq: it has no event_type")
    return event
