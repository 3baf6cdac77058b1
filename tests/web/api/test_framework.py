"""The framework of the API: who gets in, what is refused and how, and what every response has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator  # noqa: TC003  the annotations of operations are evaluated
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import aiohttp
import pytest
from pydantic import Field
from structlog.testing import capture_logs
from yarl import URL

from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.errors import Conflict, Invalid, NotFound, Problem, StoreError, TooMany
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.rules.current import Rules
from relay.services.context import Context
from relay.store import idempotency
from relay.store.driver.client import open_redis
from relay.web.api.app import app_of
from relay.web.api.filters import LineText, Period
from relay.web.api.models import DurationText, Input, Output, Page, Paging
from relay.web.api.operation import JSON_LINES, Call, Operation, Tag, Versions, operation
from relay.web.api.problems import MAX_BODY
from tests.support import KEYS, reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.store.driver.client import Redis
    from tests.support import Clock

TAG = Tag("boxes", "Boxes.")
ADMIN = Principal("ops", None, EVERY_SCOPE, token="ops")
TEAM = Principal("support", "support", frozenset({Scope.READ}), frozenset({"all"}), token="team")
TOKENS = {"good": ADMIN, "team": TEAM}
ERRORS: dict[str, Callable[[], Exception]] = {
    "gone": lambda: NotFound("there is no box"),
    "taken": lambda: Conflict("the name is taken"),
    "bad": lambda: Invalid(Problem("name", "is too short")),
    "many": lambda: TooMany("at most two"),
    "store": lambda: StoreError("nothing was changed"),
    "bug": lambda: ZeroDivisionError("secret"),
}


class BoxPath(Input):
    box: Annotated[str, Field(pattern=r"^[a-z]{1,8}$")]


class BoxQuery(Period, Paging):
    kind: tuple[str, ...] = ()
    line: LineText | None = None


class BoxBody(Input):
    name: Annotated[str, Field(min_length=1)]
    wait: DurationText = 5.0


class Box(Output):
    name: str
    version: int = 3
    wait: DurationText = 5.0


made: list[str] = []
"""The boxes that a test has made."""
slow_may_end = asyncio.Event()
"""Ends the making of a slow box; of the one test that makes some."""


@operation("GET", "/boxes", tag=TAG, scope=Scope.READ)
async def list_boxes(call: Call, query: BoxQuery) -> Page[Box]:
    """List boxes."""
    del call
    return Page[Box](items=[Box(name=name) for name in query.kind][: query.limit], next=query.cursor)


@operation("GET", "/boxes/{box}", tag=TAG, scope=Scope.READ, versions=Versions.SHOWN)
async def get_box(call: Call, path: BoxPath) -> Box:
    """Get a box."""
    del call
    if path.box in ERRORS:
        make = ERRORS[path.box]
        raise make()
    return Box(name=path.box)


@operation("POST", "/boxes", tag=TAG, scope=Scope.SUBSCRIBE, status=201, idempotent=True)
async def create_box(call: Call, body: BoxBody) -> Box:
    """Create a box."""
    del call
    made.append(body.name)
    if body.name in ERRORS:
        make = ERRORS[body.name]
        raise make()
    if body.name == "slow":
        await slow_may_end.wait()
    return Box(name=body.name, wait=body.wait)


@operation("PATCH", "/boxes/{box}", tag=TAG, scope=Scope.SUBSCRIBE, versions=Versions.CHECKED)
async def change_box(call: Call, path: BoxPath, body: BoxBody) -> Box:
    """Change a box."""
    return Box(name=f"{path.box} {body.name}", version=(call.version or 0) + 1)


@operation("DELETE", "/boxes/{box}", tag=TAG, scope=Scope.ADMIN, operators_only=True)
async def delete_box(call: Call, path: BoxPath) -> None:
    """Delete a box."""
    del call, path


@operation("GET", "/export", tag=TAG, scope=Scope.READ, media_type=JSON_LINES)
async def export_boxes(call: Call) -> AsyncIterator[Box]:
    """Export the boxes."""
    del call

    async def lines() -> AsyncIterator[Box]:
        yield Box(name="a")
        yield Box(name="b")

    return lines()


OPERATIONS: tuple[Operation, ...] = (list_boxes, get_box, create_box, change_box, delete_box, export_boxes)


async def authenticate(context: Context, text: str, source: str) -> Principal | None:
    """Know the tokens of this file."""
    del context, source
    return TOKENS.get(text)


@asynccontextmanager
async def boxes(redis: Redis, clock: Clock, **variables: Any) -> AsyncIterator[Callable[..., Any]]:
    """Serve the operations of this file; yield a function that sends a request as the operator."""
    settings = Settings(**variables)
    context = Context(settings, redis, Rules(settings, redis), clock)
    made.clear()
    async with (
        listening(app_of(context, OPERATIONS, authenticate, clock), Listen(host="127.0.0.1", port=0)) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):

        async def send(method: str, path: str, token: str | None = "good", **options: Any) -> Any:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with http.request(method, path, headers=headers | options.pop("headers", {}), **options) as response:
                await response.read()
                return response

        yield send


async def problem(response: Any) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    found: dict[str, Any] = await response.json(content_type=None)
    assert found["status"] == response.status
    assert found["instance"] == response.headers["X-Request-Id"]
    return found


async def test_every_response_has_an_id_and_is_not_stored(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        for path, token in (("/boxes/a", "good"), ("/boxes/a", None), ("/nothing", "good"), ("/export", "good")):
            response = await send("GET", path, token)
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert len(response.headers["X-Request-Id"]) == 24
        given = await send("GET", "/boxes/a", headers={"X-Request-Id": "mine-1"})
        refused = await send("GET", "/boxes/a", headers={"X-Request-Id": "no spaces"})
    assert given.headers["X-Request-Id"] == "mine-1"
    assert refused.headers["X-Request-Id"] != "no spaces"


async def test_request_without_a_valid_token_is_401(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        none = await send("GET", "/boxes/a", None)
        wrong = await send("GET", "/boxes/a", "guess")
        basic = await send("GET", "/boxes/a", None, headers={"Authorization": "Basic good"})
        lower = await send("GET", "/boxes/a", None, headers={"Authorization": "bearer good"})
    assert (none.status, none.headers["WWW-Authenticate"]) == (401, 'Bearer realm="linq-relay"')
    assert wrong.headers["WWW-Authenticate"].endswith('error="invalid_token"')
    assert [response.status for response in (none, wrong, basic, lower)] == [401, 401, 401, 200]
    assert (await problem(wrong))["type"] == "/api/v1/docs#unauthenticated"


async def test_guesses_of_an_address_are_limited_valid_tokens_not(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        assert (await send("GET", "/boxes/a")).status == 200
        statuses = [(await send("GET", "/boxes/a", f"guess {number}")).status for number in range(22)]
        limited = await send("GET", "/boxes/a", "guess")
        assert (await send("GET", "/boxes/a")).status == 200
        assert (await send("GET", "/boxes/a", "team")).status == 429  # this process has not seen it yet
        clock.now += 30
        assert (await send("GET", "/boxes/a", "team")).status == 200
    assert statuses == [401] * 20 + [429] * 2
    assert limited.headers["Retry-After"] == "5"


async def test_missing_scope_and_operators_only_are_403(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        read = await send("GET", "/boxes/a", "team")
        create = await send("POST", "/boxes", "team", json={"name": "a"})
        delete = await send("DELETE", "/boxes/a", "team")
        deleted = await send("DELETE", "/boxes/a")
    assert [response.status for response in (read, create, delete, deleted)] == [200, 403, 403, 204]
    assert '"subscribe"' in (await problem(create))["detail"]
    assert "operators" in (await problem(delete))["detail"]
    assert not made


@pytest.mark.parametrize(
    ("box", "status", "kind"),
    [
        ("gone", 404, "not-found"),
        ("taken", 409, "conflict"),
        ("bad", 422, "invalid"),
        ("many", 429, "too-many"),
        ("store", 503, "unavailable"),
    ],
)
async def test_errors_of_services_have_their_status(
    box: str, status: int, kind: str, redis: Redis, clock: Clock
) -> None:
    async with boxes(redis, clock) as send:
        response = await send("GET", f"/boxes/{box}")
        found = await problem(response)
    assert (response.status, found["type"]) == (status, f"/api/v1/docs#{kind}")
    assert found["detail"] in str(ERRORS[box]())
    assert ("Retry-After" in response.headers) == (status in {429, 503})
    assert ("errors" in found) == (box == "bad")


async def test_mistake_of_the_relay_is_500_and_says_nothing(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        with capture_logs() as logs:
            found = await problem(await send("GET", "/boxes/bug"))
    assert found["status"] == 500
    assert "secret" not in str(found)
    assert [(line["event"], line["request_id"]) for line in logs] == [("api.error", found["instance"])]


async def test_client_that_leaves_amid_its_body_is_no_error(
    redis: Redis, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield b"{"
        raise EOFError

    with capture_logs() as logs:
        async with boxes(redis, clock) as send:
            with pytest.raises((EOFError, aiohttp.ClientError)):
                await send("POST", "/boxes", data=cut(), headers={"Content-Type": "application/json"})
    assert (logs, caplog.records, made) == ([], [], [])


async def test_redis_that_is_down_is_503(clock: Clock) -> None:
    redis = open_redis(f"redis://127.0.0.1:{reserve_port()}", 1.0, "relay")
    async with boxes(redis, clock) as send:
        response = await send("POST", "/boxes", json={"name": "a"}, headers={"Idempotency-Key": "k"})
    await redis.aclose()
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert (await problem(response))["detail"].startswith("Redis: ")


async def test_paths_and_methods_that_there_are_not(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        none = await send("GET", "/nothing")
        method = await send("PUT", "/boxes/a")
        shape = await send("GET", "/boxes/NotAName")
    assert (none.status, method.status, shape.status) == (404, 405, 404)
    assert set(method.headers["Allow"].split(", ")) >= {"DELETE", "GET", "PATCH"}
    await problem(none)
    await problem(method)


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("limit=0", "limit", "it must be at least 1"),
        ("limit=x", "limit", "a whole number"),
        ("limt=1", "limt", 'unknown parameter "limt"; known are limit, cursor'),
        ("limit=1&limit=2", "limit", "repeated"),
        ("cursor=", "cursor", "it is empty"),
        ("line=16465550123", "line", 'in E.164, such as "+16465550123"'),
        ("since=2026-09-14T09:15:00", "since", "with its zone"),
    ],
)
async def test_query_is_checked_by_name(query: str, field: str, message: str, redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        found = await problem(await send("GET", f"/boxes?{query}"))
    assert found["status"] == 422
    assert [error["field"] for error in found["errors"]] == [field]
    assert message in found["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "status", "fields", "detail"),
    [
        (b'{"name": ""}', 422, ["name"], "name: "),
        (
            b'{"name": 5, "wait": "soon", "colour": 1}',
            422,
            ["name", "wait", "colour"],
            'colour: unknown field "colour"; known are name, wait',
        ),
        (b'["name"]', 422, ["body"], "object"),
        (b'{"name": ', 400, [], "is not JSON: EOF"),
        (b"", 400, [], "is empty; send JSON"),
        (b'{"why":' * 20_000, 400, [], "recursion limit"),
        (
            b"{%s}" % b",".join(b'"no%d":1' % number for number in range(9000)),
            422,
            ["name", *(f"no{number}" for number in range(49))],
            "; and 8951 more",
        ),
        (b'{"name": "' + b"x" * MAX_BODY + b'"}', 413, [], "at most 256 KiB"),
    ],
)
async def test_body_is_checked_by_name(
    body: bytes, status: int, fields: list[str], detail: str, redis: Redis, clock: Clock
) -> None:
    async with boxes(redis, clock) as send:
        response = await send("POST", "/boxes", data=body, headers={"Content-Type": "application/json"})
        found = await problem(response)
        assert (await send("GET", "/boxes/a")).status == 200
    assert response.status == status
    assert [error["field"] for error in found.get("errors", [])] == fields
    assert detail in found["detail"]
    assert not made


@pytest.mark.parametrize(
    "query", ["line=+16465550123", "since=2026-09-14T09:15:00+02:00", "until=2026-09-14T09:15:00.5+0200"]
)
async def test_plus_of_a_number_or_zone_need_not_be_escaped(query: str, redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        assert (await send("GET", URL(f"/boxes?{query}", encoded=True))).status == 200


async def test_body_that_is_not_json_is_415(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        found = await problem(await send("POST", "/boxes", data={"name": "a"}))
    assert found["status"] == 415
    assert "application/json" in found["detail"]


async def test_lists_come_in_pages_and_export_in_lines(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        page = await (await send("GET", "/boxes?kind=a&kind=b&kind=c&limit=2&cursor=x")).json()
        lines = await send("GET", "/export")
    assert [box["name"] for box in page["items"]] == ["a", "b"]
    assert page["next"] == "x"
    assert page["items"][0] == {"name": "a", "version": 3, "wait": "5s"}
    assert lines.content_type == "application/jsonl"
    assert (await lines.text()).count("\n") == 2


async def test_change_needs_the_present_version(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        shown = await send("GET", "/boxes/a")

        async def change(**headers: str) -> Any:
            return await send("PATCH", "/boxes/a", json={"name": "b"}, headers=headers)

        changed = await change(**{"If-Match": shown.headers["ETag"]})
        given = ["*", "7", ' W/"7" ', '"x"', "W/x", '"1", "2"', "\udc84"]
        statuses = [(await change(**{"If-Match": text})).status for text in given]
        unquoted = await change(**{"If-Match": "7"})
        malformed = await problem(await change(**{"If-Match": "'3'"}))
        missing = await problem(await change())
    assert shown.headers["ETag"] == '"3"'
    assert (changed.status, changed.headers["ETag"]) == (200, '"4"')
    assert statuses == [200, 200, 200, 412, 400, 400, 400]
    assert unquoted.headers["ETag"] == '"8"'
    assert (malformed["errors"][0]["field"], 'such as If-Match: "3"' in malformed["detail"]) == ("If-Match", True)
    assert missing["status"] == 428
    assert "GET /boxes/{box} has" in missing["detail"]


async def test_each_token_has_its_own_rate(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock, relay_api_rate=2) as send:
        statuses = [(await send("GET", "/boxes/a")).status for _ in range(3)]
        limited = await send("GET", "/boxes/a")
        assert (await send("GET", "/boxes/a", "team")).status == 200
        clock.now += 0.5
        assert (await send("GET", "/boxes/a")).status == 200
    assert statuses == [200, 200, 429]
    assert limited.headers["Retry-After"] == "1"
    assert "2 requests a second" in (await problem(limited))["detail"]


async def test_repeat_with_an_idempotency_key_is_not_done_again(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:

        async def create(name: str, key: str, token: str = "good") -> Any:
            return await send("POST", "/boxes", token, json={"name": name}, headers={"Idempotency-Key": key})

        first, repeat = await create("a", "k"), await create("a", "k")
        other = await create("b", "k")
        assert (await create("b", "k2")).status == 201
        slow = [asyncio.create_task(create("slow", "s")) for _ in range(2)]
        await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        slow_may_end.set()
        slow_statuses = sorted([(await task).status for task in slow])
        malformed = await create("a", "a b")
    assert (first.status, repeat.status) == (201, 201)
    assert await first.json() == await repeat.json()
    assert ("Idempotency-Replayed" in first.headers, repeat.headers["Idempotency-Replayed"]) == (False, "true")
    assert (other.status, malformed.status) == (422, 400)
    assert slow_statuses == [201, 409]
    assert made == ["a", "b", "slow"]


async def test_answers_that_are_kept_are_limited(redis: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_OF_HOLDER", 3)
    async with boxes(redis, clock) as send:
        for name in ("a", "b", "c", "d", "taken", "d", "c"):
            await send("POST", "/boxes", json={"name": name}, headers={"Idempotency-Key": name})
        assert made == ["a", "b", "c", "d", "taken"]
        await send("POST", "/boxes", json={"name": "a"}, headers={"Idempotency-Key": "a"})
    assert made == ["a", "b", "c", "d", "taken", "a"]
    assert len([key async for key in redis.scan_iter(f"{KEYS.prefix}:idempotency:*")]) == 3


async def test_kept_answer_is_encrypted_and_refusal_is_not_kept(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        headers = {"Idempotency-Key": "k"}
        for name in ("taken", "a"):
            await send("POST", "/boxes", json={"name": name}, headers=headers)
        with capture_logs():
            for _ in range(2):
                bug = await send("POST", "/boxes", json={"name": "bug"}, headers={"Idempotency-Key": "bug"})
    assert made == ["taken", "a", "bug"]  # a mistake of ours may have done something: the key stays claimed
    assert bug.status == 409
    kept = await redis.get(KEYS.idempotency("ops", "k"))
    assert kept
    assert b"wait" not in kept
    assert 0 < await redis.pttl(KEYS.idempotency("ops", "k")) <= 24 * 3600 * 1000


async def test_document_has_every_operation_and_its_answers(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        document = await (await send("GET", "/openapi.json", None)).json()
    create, change = document["paths"]["/boxes"]["post"], document["paths"]["/boxes/{box}"]["patch"]
    assert set(create["responses"]) == {"201", *map(str, (400, 401, 403, 409, 413, 415, 422, 429, 500, 503))}
    assert set(change["responses"]) >= {"404", "412", "428"}
    assert [parameter["name"] for parameter in create["parameters"]] == ["Idempotency-Key"]
    assert {parameter["name"] for parameter in change["parameters"]} == {"box", "If-Match"}
    assert set(document["components"]["schemas"]) == {"Box", "BoxBody", "BoxPage", "FieldError", "ProblemDetails"}


async def test_page_shows_every_operation_and_has_no_script(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        page = await send("GET", "/docs", None)
        style = await send("GET", "/docs.css", None)
        text = await page.text()
    assert (page.status, page.content_type, style.content_type) == (200, "text/html", "text/css")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    for each in OPERATIONS:
        assert f'id="{each.id}"' in text
    assert 'id="not-found"' in text
    assert not re.search(r"<script|style=|onclick|https?://", text)
    anchors, ids = set(re.findall(r'href="#([^"]+)"', text)), set(re.findall(r'id="([^"]+)"', text))
    assert anchors <= ids
