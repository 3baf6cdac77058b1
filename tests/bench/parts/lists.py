"""Lists at scale: how long the API and the pages take with many subscriptions, events and dead letters.

Each operation that only looks is asked one after another by one client, with all that a large relay has in Redis: an
event of the topic is asked for by its id as well, and a search looks for a handle that no event has.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from relay.services.account.sessions import sign_in
from relay.services.context import open_context
from relay.web.api.operations import OPERATIONS
from relay.web.pages.shell.visitors import COOKIE
from relay.web.pages.views import ROUTES
from tests.bench.parts.streams import api, settings_of
from tests.bench.sheet import RELAY
from tests.bench.stage import new_stage, percentile, pushed_to
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "lists"
_CHUNK = 2000
_WARM_UP = 5  # requests
_NOT_ASKED = frozenset(
    {
        "/audit/export",  # streams without end, and what changes with the number of records
        "/topics/{topic}/groups/{group}/events",
        "/topics/{topic}/groups/{group}/events/stream",
        "/topics/{topic}/events/stream",
        "/quarantine/{entry}",
        "/replays/{replay}",
        "/teams/{team}",
        "/tokens/{token}",
        "/subscriptions/{subscription}/definition",
        "/topics/{name}/tail",
        "/live/overview",
        "/live/replays",
        "/jobs/{id}",
        "/jobs/{id}/live",
        "/subscriptions/{name}/live",
        "/subscriptions/{name}/change",
        "/quarantine/{id}",
        "/linq/now",
        # what is learned of events that a router has seen, which these are not
        "/messages/{message}",
        "/messages/{id}",
        "/lines/{line}",
        "/lines/{name}",
        "/lines/{line}/opt-outs",
        "/lines/{name}/opt-outs",
        "/contracts/{type}",
        "/contracts/{name}",
        # of a shadow, which needs another subscription
        "/subscriptions/{subscription}/shadow-report",
        "/subscriptions/{name}/shadow",
    }
)


async def measure(scale: Scale, sheet: Sheet) -> None:
    urls = [f"http://127.0.0.1:9/{number}" for number in range(scale.subscriptions)]
    async with new_stage(pushed_to(*urls)) as stage:
        await stage.fill_topic(scale.listed)
        letter = await _bury(stage, scale.buried, scale.subscriptions)
        await _bury_of_group(stage, letter, scale.buried)
        await stage.at_rest()
        event = f"e-{scale.listed - 50}"  # an older one is searched for in steps
        names = {
            "topic": "everything",
            "subscription": "team-0",
            "group": "bench.group",
            "letter": letter,
            "event": event,
        }
        async with api(stage) as (url, token), aiohttp.ClientSession() as client:
            headers = {"Authorization": f"Bearer {token}"}
            for path in _operations():
                await _add(sheet, f"API {path}", client, f"{url}/api/v1{_filled(path, names)}", headers, scale)
            handle = f"{url}/api/v1/events?handle=%2B15550000000"
            await _add(sheet, "API /events, a handle that none has", client, handle, headers, scale)
            cookies = await _signed_in(stage, token)
            for path in _pages():
                names_of_page = names | {"id": event if path.startswith("/events") else letter}
                names_of_page["name"] = "everything" if path.startswith("/topics") else "team-0"
                names_of_page["name"] = "bench.group" if path.startswith("/groups") else names_of_page["name"]
                await _add(sheet, f"page {path}", client, url + _filled(path, names_of_page), cookies, scale)


async def _add(
    sheet: Sheet, what: str, client: aiohttp.ClientSession, url: str, headers: dict[str, str], scale: Scale
) -> None:
    async def ask() -> None:
        async with client.get(url, headers=headers, allow_redirects=False) as response:
            body = await response.read()
            if response.status != 200:
                raise RuntimeError(f"{what}: {response.status} {body[:500]!r}")

    times = await _times(ask, scale.requests)
    sheet.add(PART, f"{what}: p99", RELAY, percentile(times, 0.99) * 1000, "ms")


async def _times(ask: Callable[[], Awaitable[None]], count: int) -> list[float]:
    """Return the seconds of each request."""
    times = []
    for number in range(count + _WARM_UP):
        began = time.perf_counter()
        await ask()
        if number >= _WARM_UP:
            times.append(time.perf_counter() - began)
    return times


async def _bury(stage: Stage, count: int, lanes: int) -> str:
    """Write dead letters, most of them in one lane; return the entry of that lane's last."""
    now, last = str(round(time.time() * 1000)), b""
    for start in range(0, count, _CHUNK):
        async with stage.redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + _CHUNK, count)):
                name = f"team-{number % lanes if number % 10 == 9 else 0}"
                fields: dict[Any, Any] = {
                    "id": f"dead-{number}",
                    "type": "message.received",
                    "line": "+16465550101",
                    "chat": "c",
                    "at": now,
                    "version": "2026-02-03",
                    "body": '{"event_type": "message.received"}',
                    "dead_topic": "everything",
                    "dead_at": now,
                    "dead_reason": "rejected: status 404",
                    "dead_tries": "1",
                    "dead_first_at": now,
                    "dead_status": "404",
                    "dead_detail": "no",
                }
                pipe.xadd(KEYS.lane(name, "dead"), fields)
            entries = await pipe.execute()
        last = entries[0]  # of team-0: no multiple of ten ends with nine
        await asyncio.sleep(0)
    return last.decode()


async def _bury_of_group(stage: Stage, last: str, count: int) -> None:
    """Create a pull group, and write dead letters of it; the last has an entry that is given."""
    topic, dead = KEYS.topic("everything"), KEYS.group_dead("everything", "bench.group")
    await stage.redis.xgroup_create(topic, "bench.group", "0")
    entries = await stage.redis.xrange(topic, count=count)
    for start in range(0, len(entries), _CHUNK):
        async with stage.redis.pipeline(transaction=False) as pipe:
            for number, (entry, fields) in enumerate(entries[start : start + _CHUNK], start + 1):
                more = {"dead_entry": entry, "dead_at": "1", "dead_reason": "rejected", "dead_deliveries": "2"}
                pipe.xadd(dead, fields | more, id=last if number == len(entries) else f"1-{number}")
            await pipe.execute()


async def _signed_in(stage: Stage, token: str) -> dict[str, str]:
    """Open a session of the page; return the headers with its cookie."""
    async with open_context(settings_of(stage)) as context:
        session = await sign_in(context, token, "127.0.0.1")
    return {"Cookie": f"{COOKIE}={session}"}


def _operations() -> Iterator[str]:
    return (each.path for each in OPERATIONS if each.method == "GET" and each.path not in _NOT_ASKED)


def _pages() -> Iterator[str]:
    return (path for method, path, _ in ROUTES if method == "GET" and path not in _NOT_ASKED)


def _filled(path: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    return path
