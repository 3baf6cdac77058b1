"""Records of subscriptions made by the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.secret import new_key
from relay.store.keyring.encryption import Cipher
from relay.store.stored_subscriptions.hash import StoredSubscriptions
from relay.store.stored_subscriptions.record import SecretValues, StoredSubscription, seal
from tests.building import SECRET

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

KEY = new_key()
CIPHER = Cipher(KEY)

RULES = """
[[topics]]
name = "messages"
events = ["message.*"]

[[subscriptions]]
name = "bot"
topic = "messages"
url = "http://127.0.0.1:9/bot"
secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
"""


def record_of(
    name: str = "crm",
    *secrets: str,
    ends: tuple[int | None, ...] = (),
    cipher: Cipher = CIPHER,
    headers: dict[str, str] | None = None,
    **table: Any,
) -> StoredSubscription:
    """Return the record of a subscription to `messages`."""
    texts = secrets or (SECRET.text,)
    headers = headers or {}
    keys = {"topic": "messages", "url": "http://127.0.0.1:9/crm", **table}
    if headers:
        keys["headers"] = dict.fromkeys(headers, "")
    return StoredSubscription(
        name=name,
        version=1,
        table=keys,
        secret_ends=ends or (None,) * len(texts),
        created_at=0,
        created_by="test",
        changed_at=0,
        changed_by="test",
        **seal(cipher, SecretValues(texts, headers)),
    )


async def store(redis: Redis, *records: StoredSubscription) -> None:
    """Write new records."""
    for record in records:
        await StoredSubscriptions(redis).put(record, record.version - 1)
