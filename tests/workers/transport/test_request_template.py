"""The bytes of a request."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

import pytest

from relay import __version__
from relay.core.config.endpoint import Endpoint
from relay.core.secret import SigningSecret
from tests.building import SECRET
from tests.workers.transport.test_sender import delivery, subscription
from workers.transport import request_template as module
from workers.transport.request_template import KindLines, RequestTemplate

EVENT_ID = "event_id"
LATIN = "zo\u00eb:p\u00e4ss".encode("latin-1")


def template(url: str, **more: Any) -> RequestTemplate:
    return RequestTemplate(subscription(url), Endpoint((SECRET,), **more), KindLines())


def head_of(url: str, **more: Any) -> list[str]:
    head, _, _ = template(url, **more).request(delivery(b"{}"), 1, 5).partition(b"\r\n\r\n")
    return head.decode().split("\r\n")


def test_request_is_a_head_and_the_unchanged_body() -> None:
    body = b'{"a":\r\n\r\n"\xff"}'
    request = template("http://example.com/x").request(delivery(body), 3, 1_700_000_000)
    head, _, sent = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert (line, sent) == ("POST /x HTTP/1.1", body)
    sent_headers = dict(header.split(": ", 1) for header in headers)
    assert len(sent_headers) == len(headers)
    assert set(sent_headers) >= {"webhook-signature", "X-Webhook-Signature"}
    assert (
        sent_headers.items()
        >= {
            "Host": "example.com",
            "User-Agent": f"linq-relay/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Webhook-Event": "message.received",
            "X-Webhook-Subscription-ID": "bot",
            "X-Webhook-Timestamp": "1700000000",
            "Relay-Topic": "support",
            "Relay-Attempt": "3",
            "Relay-Event-Id": "e1",
            "webhook-id": "e1",
            "webhook-timestamp": "1700000000",
        }.items()
    )


@pytest.mark.parametrize(
    ("url", "target", "host", "leads_to"),
    [
        ("http://example.com", "/", "example.com", ("example.com", 80)),
        ("https://Example.COM/a?b=c&d", "/a?b=c&d", "example.com", ("example.com", 443)),
        ("http://example.com:8080/a#part", "/a", "example.com:8080", ("example.com", 8080)),
        ("http://example.com:80/", "/", "example.com", ("example.com", 80)),
        ("http://example.com./", "/", "example.com", ("example.com.", 80)),
        ("http://[::1]:9/x", "/x", "[::1]:9", ("::1", 9)),
        ("http://b\u00fccher.example/", "/", "xn--bcher-kva.example", ("xn--bcher-kva.example", 80)),
        ("http://x/\u00e9%20%2f%zz?q=\u00e9+%26", "/%C3%A9%20%2f%zz?q=%C3%A9+%26", "x", ("x", 80)),
        ("http://x/a%2Fb/%7Ec/~d?e=%2F&f[]=%3f#g", "/a%2Fb/%7Ec/~d?e=%2F&f[]=%3f", "x", ("x", 80)),
        ('http://x/a"<>^`{|}\\b', "/a%22%3C%3E%5E%60%7B%7C%7D%5Cb", "x", ("x", 80)),
        ("http://x?a/b", "/?a/b", "x", ("x", 80)),
        ("http://x/a/../b/./c//d", "/a/../b/./c//d", "x", ("x", 80)),
        ("http://me:secret@x:1/", "/", "x:1", ("x", 1)),
    ],
)
def test_url_gives_target_host_and_destination(url: str, target: str, host: str, leads_to: tuple[str, int]) -> None:
    head = head_of(url)
    assert head[:2] == [f"POST {target} HTTP/1.1", f"Host: {host}"]
    target_of_url = template(url).destination
    assert (target_of_url.host, target_of_url.port, target_of_url.tls is not None) == (
        *leads_to,
        url.startswith("https"),
    )


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [
        ("me:secret", b"me:secret"),
        ("me", b"me:"),
        (":secret", b":secret"),
        ("m%40e:a%3Ab", b"m@e:a:b"),
        ("zo\u00eb:p%C3%A4ss", LATIN),
    ],
)
def test_user_and_password_in_a_url_become_a_header(userinfo: str, pair: bytes) -> None:
    assert f"Authorization: Basic {b64encode(pair).decode()}" in head_of(f"http://{userinfo}@x/")


@pytest.mark.parametrize("url", ["http://a%3Ab:secret@x/", "http://\u4f60:secret@x/", "http://x:99999/"])
def test_url_that_cannot_be_sent_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        template(url)


@pytest.mark.parametrize("control", ["\n", "\r", "\r\nX-Injected: 1", "\x00", "\x1f", "\x7f"])
@pytest.mark.parametrize("field", ["type", "id", "line", "webhook_id"])
def test_event_fields_cannot_inject_headers(field: str, control: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        template("http://x/").request(delivery(b"{}", **{EVENT_ID if field == "id" else field: f"a{control}b"}), 1, 5)


def test_non_ascii_headers_are_sent_as_utf_8() -> None:
    request = template("http://x/").request(delivery(b"{}", type="caf\u00e9\t\U0001f600"), 1, 5)
    assert "X-Webhook-Event: caf\u00e9\t\U0001f600\r\n".encode() in request


def test_configured_headers_are_sent_unchanged() -> None:
    assert "X-Team: crm" in head_of("http://x/", headers={"X-Team": "crm"})
    with pytest.raises(ValueError, match="control character"):
        template("http://x/", headers={"X-Team": "crm\r\nX: y"})


def test_request_does_not_contain_the_secret() -> None:
    secret = SigningSecret("whsec_" + "YWJj" * 11)
    written = RequestTemplate(subscription("http://x/"), Endpoint((secret,)), KindLines()).request(
        delivery(b"{}"), 1, 5
    )
    assert secret.text.encode() not in written


def test_lanes_share_the_lines_of_a_kind_and_nothing_else() -> None:
    kinds = KindLines()
    heads = []
    for name in ("bot", "crm"):
        endpoint = Endpoint((SECRET,), headers={"X-Team": name})
        of_lane = RequestTemplate(subscription("http://x/", name=name), endpoint, kinds)
        heads += [of_lane.request(delivery(b"{}", line=line), 1, 5).decode() for line in ("+1", "+2", "+1")]
    assert [head.count(f"X-Team: {name}") for head, name in zip(heads, ["bot"] * 3 + ["crm"] * 3, strict=True)] == [
        1
    ] * 6
    assert [re.findall(r"Relay-Line: (\S+)", head) for head in heads] == [["+1"], ["+2"], ["+1"]] * 2
    assert len(kinds) == 2


def test_kinds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KINDS", 3)
    kinds = KindLines()
    of_lane = RequestTemplate(subscription("http://x/"), Endpoint((SECRET,)), kinds)
    for number in range(8):
        assert f"Relay-Line: +{number}" in of_lane.request(delivery(b"{}", line=f"+{number}"), 1, 5).decode()
        assert len(kinds) <= 3
