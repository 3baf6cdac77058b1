"""Forms that no browser sends: they are refused as a mistake of the client, before they cost much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.pages.browsing import site_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

ENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"token=\xff\xfe", ENCODED, 400),
        (b"token=%ff", ENCODED, 400),
        (b"token=x", f"{ENCODED}; charset=no-such", 403),
        (b"a&" * 3000, ENCODED, 413),
        (b"token=" + b"x" * 300_000, ENCODED, 413),
        (
            b'--x\r\nContent-Disposition: form-data; name="token"; filename="a"\r\n\r\ny\r\n--x--',
            "multipart/form-data; boundary=x",
            403,
        ),
        (b'{"token": "x"}', "application/json", 403),
        (b"", "", 403),
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/tokens"])
async def test_strange_form_is_refused(redis: Redis, path: str, body: bytes, kind: str, status: int) -> None:
    async with site_of(redis) as site, site.browser(await site.token()) as browser:
        headers = {"Content-Type": kind, "Origin": site.origin}
        async with browser.http.post(f"{site.origin}{path}", data=body, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (status, "text/html")
