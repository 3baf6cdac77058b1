"""The page of the sandbox shows what happens in it, safely."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest

from relay.sandbox.faults.models import FAULT_KINDS
from tests.sandbox.page.reading import get_page
from tests.sandbox.running import LINE, LINES, Endpoint, RunningSandbox

TARGET = "https://relay.example.com/x"


async def test_shows_lines_subscriptions_faults_deliveries(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    made = await sandbox.subscribe(f"{endpoint.url}/v3", lines=[LINE])
    sandbox.subscribe_v2(f"{endpoint.url}/v2")
    await sandbox.fault("timestamp", offset=-600)
    endpoint.statuses.extend([500, 500])
    event_id = (await sandbox.emit(line=LINE))["event_id"]
    await sandbox.settled()
    page = await get_page(sandbox)
    for text in (*LINES, made.id, f"{endpoint.url}/v3", f"{endpoint.url}/v2", "offset -600", event_id, "delivered"):
        assert text in page.text
    assert re.search(r": 500 \(\d+ ms\)", page.text)
    assert made.signing_secret not in page.text


async def test_empty_sandbox_says_what_to_do(sandbox: RunningSandbox) -> None:
    page = await get_page(sandbox)
    assert page.text.count("None") == 3
    assert "relay bootstrap apply" in page.text


async def test_examples_work(sandbox: RunningSandbox) -> None:
    page = await get_page(sandbox)
    examples = re.findall(r"curl -d '(.+)' (\S+)", page.text)
    assert len(examples) == 22
    kinds = {kind for body, _ in examples if (kind := json.loads(body).get("kind"))}
    assert kinds == set(FAULT_KINDS)
    await sandbox.subscribe(TARGET, lines=[LINE])
    for body, url in examples:
        assert url.startswith(sandbox.url)
        async with sandbox.http.post(url, data=body) as response:
            assert response.ok, await response.text()


async def test_every_value_is_escaped(sandbox: RunningSandbox) -> None:
    malicious = '"><script>alert(1)</script>'
    await sandbox.subscribe(f"http://127.0.0.1:9/?{malicious}")
    await sandbox.emit(event_id=malicious)
    path = f"{sandbox.url}/sandbox?event_id={quote(malicious)}&subscription_id={quote(malicious)}"
    for url in (path, f"{sandbox.url}/sandbox"):
        async with sandbox.http.get(url, headers={"Host": malicious}) as response:
            page = await response.text()
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


async def test_latest_50_deliveries_are_shown_and_filtered(sandbox: RunningSandbox, endpoint: Endpoint) -> None:
    await sandbox.subscribe(endpoint.url)
    endpoint.statuses.append(404)
    failed = (await sandbox.emit())["event_id"]
    await sandbox.settled()
    sent = [failed, *(await sandbox.emit(count=59))["event_ids"]]
    await sandbox.settled()
    page = await get_page(sandbox)
    assert [event_id in page.text for event_id in sent] == [False] * 10 + [True] * 50
    for query in ("?state=failed", f"?event_id={failed}"):
        page = await get_page(sandbox, query)
        assert "Latest 1 of 1" in page.text
        assert failed in page.text
    assert "None that match" in (await get_page(sandbox, "?subscription_id=nothing")).text
    assert "Latest 50 of 60" in (await get_page(sandbox, "?state=colour")).text


async def test_live_part_is_sent_only_when_it_changed(sandbox: RunningSandbox) -> None:
    async with sandbox.http.get(f"{sandbox.url}/sandbox/live?seen=") as response:
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        match = re.search(r"seen=(\w+)", await response.text())
    assert match
    for change, status in ((False, 204), (True, 200)):
        if change:
            await sandbox.fault("forge")
        async with sandbox.http.get(f"{sandbox.url}/sandbox/live?seen={match[1]}") as response:
            assert response.status == status


async def test_only_own_files_are_loaded_and_kept(sandbox: RunningSandbox) -> None:
    async with sandbox.http.get(f"{sandbox.url}/sandbox") as response:
        policy = response.headers["Content-Security-Policy"].split("; ")
        html = await response.text()
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= {*policy}
    assert "unsafe" not in str(policy)
    files = re.findall(r'(?:href|src)="(/sandbox/static/[^"]+)"', html)
    assert len(files) == 4
    for path in files:
        async with sandbox.http.get(sandbox.url + path) as response:
            assert response.status == 200
            assert "immutable" in response.headers["Cache-Control"]
    async with sandbox.http.get(f"{sandbox.url}/sandbox/static/page.css") as response:
        assert response.status == 404


@pytest.mark.parametrize("path", ["/v3/webhook-subscriptions", "/sandbox/state"])
async def test_other_responses_have_no_headers_of_the_page(sandbox: RunningSandbox, path: str) -> None:
    async with sandbox.http.get(f"{sandbox.url}{path}") as response:
        assert "Content-Security-Policy" not in response.headers
