"""Events, webhooks and rules for tests, with sensible defaults."""

from __future__ import annotations

import itertools
import json
from typing import Any

from relay.core.config.relay_toml import RelayConfig, parse_config
from relay.core.event import Dialect, VerifiedWebhook
from relay.core.line_secret import LineSecret
from relay.core.secret import SigningSecret
from relay.linq.signatures import standard, v3_legacy

LINE = "+16465550123"
OTHER_LINE = "+16465550124"
CUSTOMER = "+13035550188"
SECRET = SigningSecret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
OTHER_SECRET = SigningSecret("whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=")

_numbers = itertools.count(1)


def body_of(event_type: str = "message.received", event_id: str | None = None, **data: Any) -> bytes:
    """Return a v3 body."""
    envelope = {
        "api_version": "v3",
        "webhook_version": "2026-02-03",
        "event_type": event_type,
        "event_id": event_id or f"event-{next(_numbers)}",
        "created_at": "2026-09-14T09:15:02.417203911Z",
        "trace_id": "6b1f0c9d2a7e4583b0d4e1f29a8c7d35",
        "partner_id": "prt_demo_042",
        "data": {"chat_id": "chat-1", **data},
    }
    return json.dumps(envelope).encode()


def webhook_of(
    event_type: str = "message.received", line: str | None = LINE, event_id: str | None = None
) -> VerifiedWebhook:
    """Return a verified webhook."""
    event_id = event_id or f"event-{next(_numbers)}"
    body = body_of(event_type, event_id)
    return VerifiedWebhook(id=event_id, type=event_type, dialect=Dialect.V3, webhook_id=event_id, line=line, body=body)


def webhook_in_chat(chat: str) -> VerifiedWebhook:
    """Return a verified webhook about a chat."""
    webhook = webhook_of()
    return webhook._replace(body=body_of(event_id=webhook.id, chat_id=chat))


def known(line: str | None = LINE, generation: int = 1, secret: SigningSecret = SECRET) -> LineSecret:
    """Return a secret as the keyring returns it."""
    return LineSecret(line, generation, secret)


def signed(body: bytes, now: float, secret: SigningSecret = SECRET, webhook_id: str | None = None) -> dict[str, str]:
    """Return the headers that Linq sends with `body`, of both families."""
    identity = webhook_id or json.loads(body)["event_id"]
    return {
        "Content-Type": "application/json",
        **standard.sign(secret, identity, int(now), body),
        v3_legacy.EVENT: "message.received",
        v3_legacy.SUBSCRIPTION_ID: "linq-subscription",
        **v3_legacy.sign(secret, int(now), body),
    }


def config_of(text: str) -> RelayConfig:
    """Parse a relay.toml."""
    return parse_config(text)


TWO_TOPICS = f"""
[[topics]]
name = "messages"
events = ["message.*"]

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "messages"
url = "http://127.0.0.1:9/bot"
secret = "{SECRET.text}"
retry = ["100ms", "200ms"]

[[subscriptions]]
name = "crm"
topic = "everything"
url = "http://127.0.0.1:9/crm"
secret = "{OTHER_SECRET.text}"
"""
