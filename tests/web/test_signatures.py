"""Headers and bodies that do not verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.linq.signatures import standard, v2, v3_legacy
from tests.building import OTHER_SECRET, SECRET, body_of, signed
from tests.conftest import NOW
from tests.web.conftest import inbox

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.web.conftest import Running


def forged() -> dict[str, list[tuple[str, str]]]:
    """Invalid headers for this body, by their fault."""
    body = BODY
    good = signed(body, NOW)

    def changed(**values: str | None) -> list[tuple[str, str]]:
        headers = {**good, **{name.replace("_", "-"): value for name, value in values.items()}}
        return [(name, value) for name, value in headers.items() if value is not None]

    only_legacy = v3_legacy.sign(SECRET, int(NOW), body)
    only_standard = standard.sign(SECRET, "e1", int(NOW), body)
    return {
        "nothing at all": [],
        "another secret": list(signed(body, NOW, OTHER_SECRET).items()),
        "another body's": list(signed(body_of(event_id="e2"), NOW).items()),
        "another id": changed(webhook_id="e2"),
        "another timestamp": changed(webhook_timestamp=str(int(NOW) + 1)),
        "stale": list(signed(body, NOW - 301).items()),
        "from the future": list(signed(body, NOW + 301).items()),
        "stale, older headers": list(v3_legacy.sign(SECRET, int(NOW) - 301, body).items()),
        "no id": changed(webhook_id=None),
        "no timestamp": changed(webhook_timestamp=None),
        "no signature": changed(webhook_signature=None),
        "empty id": changed(webhook_id=""),
        "empty timestamp": changed(webhook_timestamp=""),
        "empty signature": changed(webhook_signature=""),
        "words for a timestamp": changed(webhook_timestamp="yesterday"),
        "a fraction": changed(webhook_timestamp=f"{int(NOW)}.0"),
        "digits of another script": changed(webhook_timestamp="١٧٨٩٣٧٧٣٠٢"),
        "a timestamp without end": changed(webhook_timestamp="9" * 4000),
        "a minus": changed(webhook_timestamp="-1"),
        "not ASCII": changed(webhook_signature="v1,ü"),
        "not base64": changed(webhook_signature="v1,%%%"),
        "another version": changed(webhook_signature=only_standard["webhook-signature"].replace("v1,", "v2,")),
        "no version": changed(webhook_signature=only_standard["webhook-signature"].removeprefix("v1,")),
        "a thousand signatures": changed(webhook_signature=" ".join(["v1,AAAA"] * 1000)),
        "a repeated id": [*good.items(), ("webhook-id", "e1")],
        "a repeated signature": [*good.items(), ("webhook-signature", good["webhook-signature"])],
        "older headers: no timestamp": [("X-Webhook-Signature", only_legacy["X-Webhook-Signature"])],
        "older headers: another timestamp": list({**only_legacy, "X-Webhook-Timestamp": str(int(NOW) + 1)}.items()),
        "older headers: half a signature": list({**only_legacy, "X-Webhook-Signature": "08333cb6"}.items()),
        "older headers: v2's form": list(v2.sign(SECRET, body).items()),
        "older headers good, standard wrong": [*only_legacy.items(), *changed(webhook_id="e2")][:6],
    }


BODY = body_of(event_id="e1")


@pytest.mark.parametrize("fault", forged())
async def test_forged_or_stale_webhook_gets_401_and_is_not_stored(ingress: Running, redis: Redis, fault: str) -> None:
    response = await ingress.post(BODY, forged()[fault])
    assert response.status == 401
    assert (await response.json())["error"]["code"] == "bad_signature"
    assert await inbox(redis) == []
    assert not await redis.keys("relay:seen:*")
