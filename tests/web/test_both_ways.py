"""The same request over the fast path and over aiohttp alone: the same responses, the same end of the connection."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from relay.web.fast.request_head import parse_head
from tests.web.wire import TARGET, chunked_request, connection, conversation, essence, request_of, response_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.conftest import Running

PLAIN = request_of()
HEAD, BODY = PLAIN.split(b"\r\n\r\n", 1)
LENGTH = b"Content-Length: %d" % len(BODY)


def changed(old: bytes, new: bytes) -> bytes:
    """Return the plain request with `old` replaced by `new` in its head."""
    assert HEAD.count(old) == 1
    return HEAD.replace(old, new) + b"\r\n\r\n" + BODY


def with_headers(*lines: bytes) -> bytes:
    """Return the plain request with further lines in its head."""
    return b"\r\n".join((HEAD, *lines)) + b"\r\n\r\n" + BODY


def with_target(target: bytes) -> bytes:
    """Return the plain request for another target."""
    return changed(TARGET.encode(), target)


def old_http(*lines: bytes) -> bytes:
    """Return the plain request as HTTP/1.0, with further lines in its head."""
    return with_headers(*lines).replace(b"HTTP/1.1", b"HTTP/1.0")


SIGNATURE_HEADER = next(line for line in HEAD.split(b"\r\n") if line.lower().startswith(b"webhook-signature"))
ID_HEADER = next(line for line in HEAD.split(b"\r\n") if line.lower().startswith(b"webhook-id"))

REQUESTS = {
    "plain": (PLAIN, [200, 200]),
    "long body": (request_of(size=70_000), [200, 200]),
    "body at the limit of the fast path": (request_of(size=64 * 1024 - len(BODY) + 10), [200, 200]),
    "forged": (PLAIN[:-1] + b"!", [401, 200]),
    "no body": (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", [503, 200]),
    "no length": (b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\n\r\n", [503, 200]),
    # framing
    "chunks": (chunked_request(), [200, 200]),
    "chunks and a length": (with_headers(b"Transfer-Encoding: chunked"), [400]),
    "Transfer-Encoding: identity": (with_headers(b"Transfer-Encoding: identity"), [400]),
    "length twice, the same": (with_headers(LENGTH), [400]),
    "length twice, another": (with_headers(b"Content-Length: 1"), [400]),
    "two lengths in one line": (changed(LENGTH, LENGTH + b", %d" % len(BODY)), [400]),
    "length with a plus": (changed(LENGTH, b"Content-Length: +%d" % len(BODY)), [400]),
    "length with zeros": (changed(LENGTH, b"Content-Length: 000%d" % len(BODY)), [200, 200]),
    "length with many zeros": (changed(LENGTH, b"Content-Length: %020d" % len(BODY)), [200, 200]),
    "length with spaces around": (changed(LENGTH, LENGTH.replace(b": ", b":  \t") + b" \t"), [200, 200]),
    "length of another script": (changed(LENGTH, "Content-Length: \u0661".encode()), [400]),
    "length too large for a number": (changed(LENGTH, b"Content-Length: " + b"9" * 5000), [400]),
    "length over the limit": (changed(LENGTH, b"Content-Length: 9999999"), [413]),
    # connection
    "Expect": (with_headers(b"Expect: 100-continue"), [200, 200]),
    "Expect something else": (with_headers(b"Expect: miracles"), [417, 200]),
    "Connection: close": (with_headers(b"Connection: close"), [200]),
    "Connection: Close, other": (with_headers(b"connection: x, Close"), [200]),
    "Connection: keep-alive": (with_headers(b"Connection: keep-alive"), [200, 200]),
    "HTTP/1.0": (old_http(), [200]),
    "HTTP/1.0 with keep-alive": (old_http(b"Connection: keep-alive"), [200, 200]),
    "HTTP/1.0 with close": (old_http(b"Connection: close"), [200]),
    "HTTP/1.0 without a host": (old_http().replace(b"Host: x\r\n", b""), [200]),
    "HTTP/1.2": (changed(b"HTTP/1.1", b"HTTP/1.2"), [400]),
    "HTTP/2.0": (changed(b"HTTP/1.1", b"HTTP/2.0"), None),
    "HTTP/0.9": (changed(b"HTTP/1.1", b"HTTP/0.9"), None),
    "Upgrade": (with_headers(b"Connection: upgrade", b"Upgrade: h2c"), None),
    "Upgrade to a websocket": (with_headers(b"Connection: upgrade", b"Upgrade: websocket"), None),
    "Upgrade without Connection": (with_headers(b"Upgrade: h2c"), None),
    "Connection: upgrade alone": (with_headers(b"Connection: upgrade"), [200, 200]),
    "old websocket": (with_headers(b"Sec-WebSocket-Key1: x"), [400]),
    # headers
    "no Host": (changed(b"Host: x\r\n", b""), [400]),
    "Host twice": (with_headers(b"Host: x"), [400]),
    "User-Agent twice": (with_headers(b"User-Agent: x", b"User-Agent: y"), [400]),
    "X-Forwarded-For twice": (with_headers(b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-For: 10.0.0.2"), [200, 200]),
    "signature twice": (with_headers(SIGNATURE_HEADER), [401, 200]),
    "signature twice, other case": (with_headers(SIGNATURE_HEADER.upper()), [401, 200]),
    "names in upper case": (changed(ID_HEADER, ID_HEADER.replace(b"webhook-id", b"WEBHOOK-ID")), [200, 200]),
    "spaces around a value": (changed(ID_HEADER, ID_HEADER.replace(b": ", b":\t ") + b"\t "), [200, 200]),
    "no space before a value": (changed(ID_HEADER, ID_HEADER.replace(b": ", b":")), [200, 200]),
    "space before the colon": (changed(ID_HEADER, ID_HEADER.replace(b":", b" :")), [400]),
    "empty value": (changed(ID_HEADER, b"webhook-id:"), [401, 200]),
    "empty name": (with_headers(b": x"), [400]),
    "latin-1 in a value": (with_headers(b"X-Name: caf\xe9"), [200, 200]),
    "UTF-8 in a value": (with_headers("X-Name: café".encode()), [200, 200]),
    "latin-1 in the signature": (changed(SIGNATURE_HEADER, SIGNATURE_HEADER + b"\xe9"), [401, 200]),
    "latin-1 in a name": (with_headers(b"X-Caf\xe9: x"), [400]),
    "NUL in a value": (with_headers(b"X-Name: a\0b"), [400]),
    "control character in a value": (with_headers(b"X-Name: a\x01b"), [400]),
    "folded line": (with_headers(b"X-Name: a", b" b"), None),
    "folded signature": (changed(SIGNATURE_HEADER, SIGNATURE_HEADER.replace(b"v1,", b"\r\n v1,")), None),
    "bare LF after a header": (changed(b"Host: x\r\n", b"Host: x\n"), [400]),
    "bare CR after a header": (changed(b"Host: x\r\n", b"Host: x\r"), [400]),
    "bare LF everywhere": (HEAD.replace(b"\r\n", b"\n") + b"\n\n" + BODY, [400]),
    "line without a colon": (with_headers(b"no header"), [400]),
    "long header": (with_headers(b"X-Name: " + b"x" * 9000), [400]),
    "many headers": (with_headers(*(b"X-%d: x" % number for number in range(130))), [400]),
    "long head": (with_headers(*(b"X-%d: " % number + b"x" * 200 for number in range(60))), [200, 200]),
    # request line
    "absolute target": (with_target(b"http://x" + TARGET.encode()), [200, 200]),
    "absolute target of another host": (with_target(b"https://example.com" + TARGET.encode()), [200, 200]),
    "encoded path": (with_target(TARGET.replace("linq", "%6Cinq").encode()), [200, 200]),
    "encoded slash": (with_target(TARGET.replace("s/l", "s%2Fl").encode()), [404, 200]),
    "encoded query": (with_target(TARGET.replace("line=1", "line=%31").encode()), [200, 200]),
    "plus in the query": (with_target(TARGET.replace("line=", "line=+").encode()), [200, 200]),
    "fragment": (with_target(TARGET.encode() + b"#part"), [200, 200]),
    "fragment in place of a query": (with_target(b"/webhooks/linq#?line=16465550123"), [404, 200]),
    "two question marks": (with_target(TARGET.encode() + b"?x"), [200, 200]),
    "line that is unknown": (with_target(b"/webhooks/linq?line=19995550000"), [503, 200]),
    "path with a slash at its end": (with_target(b"/webhooks/linq/"), [404, 200]),
    "path with dots": (with_target(b"/webhooks/../webhooks/linq?line=16465550123"), None),
    "path with two slashes": (with_target(b"//webhooks/linq?line=16465550123"), None),
    "latin-1 in the query": (with_target(TARGET.encode() + b"&x=\xe9"), None),
    "space in the target": (with_target(TARGET.encode() + b" x"), [400]),
    "two spaces after the method": (changed(b"POST ", b"POST  "), None),
    "method in lower case": (changed(b"POST", b"post"), [400]),
    "another method": (changed(b"POST", b"PUT"), [405, 200]),
    "empty lines before": (b"\r\n\r\n" + PLAIN, [200, 200]),
    "not HTTP": (b"nonsense\r\n\r\n", [400]),
}  # fmt: skip
"""Requests and their expected statuses: of the request, and of a further webhook if the connection is kept. None leaves
them to aiohttp: both ways must only agree."""


@pytest.fixture
async def aiohttp_port(ingress: Running) -> AsyncIterator[int]:
    """Run the same ingress without its fast path."""
    async with ingress.listening("aiohttp") as port:
        yield port


@pytest.mark.parametrize("what", REQUESTS)
async def test_both_ways_give_the_same_responses(ingress: Running, aiohttp_port: int, what: str) -> None:
    request, statuses = REQUESTS[what]
    fast = await conversation(ingress.port, [request])
    assert fast == await conversation(aiohttp_port, [request])
    assert statuses in (None, [response.status for response in fast])


@pytest.mark.parametrize("cut", [3, 30, len(HEAD) - 5, len(HEAD) + 2, len(HEAD) + 4, len(HEAD) + 9])
async def test_same_responses_to_a_request_in_two_segments(ingress: Running, aiohttp_port: int, cut: int) -> None:
    segments = [PLAIN[:cut], PLAIN[cut:]]
    fast = await conversation(ingress.port, segments)
    assert fast == await conversation(aiohttp_port, segments)
    assert [response.status for response in fast] == [200, 200]


@pytest.mark.parametrize("what", ["plain", "chunks", "Expect", "encoded path", "absolute target", "another method"])
@pytest.mark.parametrize("cut", [0, 2, 40, -3])
async def test_same_responses_to_a_request_behind_a_webhook(
    ingress: Running, aiohttp_port: int, what: str, cut: int
) -> None:
    request, statuses = REQUESTS[what]
    assert statuses
    segments = [request_of("e0") + request[:cut], request[cut:]]
    fast = await conversation(ingress.port, segments, count=2)
    assert fast == await conversation(aiohttp_port, segments, count=2)
    assert [response.status for response in fast] == [200, *statuses]


def mutations() -> list[bytes]:
    """Return plain requests with one or two changed bytes in their heads that the fast path still accepts."""
    chance = random.Random(4)
    found: list[bytes] = []
    while len(found) < 100:
        head = bytearray(HEAD + b"\r\n\r\n")
        for _ in range(chance.randint(1, 2)):
            at = chance.randrange(len(head))
            new = bytes([chance.choice((*b"\r\n\t :,;#?%/&=\0\x7f\x80aZ-09", chance.randrange(256)))])
            head[at : at + chance.randint(0, 1)] = new
        parsed = parse_head(bytes(head))
        if head.count(b"\r\n\r\n") == 1 and parsed is not None and parsed.body_length == len(BODY):
            found.append(bytes(head) + BODY)
    return found


async def test_aiohttp_agrees_on_heads_the_fast_path_accepts(ingress: Running, aiohttp_port: int) -> None:
    for request in mutations():
        responses = []
        for port in (ingress.port, aiohttp_port):
            async with connection(port) as (reader, writer):
                writer.write(request)
                responses.append(essence(await response_of(reader)))
        assert responses[0] == responses[1], request
