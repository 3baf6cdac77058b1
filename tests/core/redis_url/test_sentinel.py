from __future__ import annotations

import pytest

from relay.core.redis_url.sentinel import SentinelUrl, is_sentinel_url, parse_sentinel_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis+sentinel://a/mymaster", SentinelUrl((("a", 26379),), "mymaster")),
        ("redis+sentinel://a:1,b:2,[::1]:3/m/4", SentinelUrl((("a", 1), ("b", 2), ("::1", 3)), "m", 4)),
        ("redis+sentinel://[::1]/m", SentinelUrl((("::1", 26379),), "m")),
        ("rediss+sentinel://a/m", SentinelUrl((("a", 26379),), "m", has_tls=True)),
        ("redis+sentinel://:p%40ss@a/m", SentinelUrl((("a", 26379),), "m", password="p@ss")),
        (
            "rediss+sentinel://a/m?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            SentinelUrl(
                (("a", 26379),), "m", has_tls=True, tls={"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}
            ),
        ),
        (
            "redis+sentinel://u:p@a/m?sentinel_username=v&sentinel_password=q",
            SentinelUrl((("a", 26379),), "m", 0, "u", "p", "v", "q"),
        ),
    ],
)
def test_valid_sentinel_url_is_parsed(text: str, expected: SentinelUrl) -> None:
    assert is_sentinel_url(text)
    assert parse_sentinel_url(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis+sentinel:///m", "does not have the form"),
        ("redis+sentinel://a", "does not have the form"),
        ("redis+sentinel://a/m/x", "does not have the form"),
        ("redis+sentinel://a:0/m", "Sentinel 1 is not HOST"),
        ("redis+sentinel://a,:2/m", "Sentinel 2 is not HOST"),
        ("redis+sentinel://a:x/m", "Sentinel 1 is not HOST"),
        ("redis+sentinel://a/m?ssl_ca_certs=/ca.pem", "unknown option; known are sentinel_username"),
        ("rediss+sentinel://a/m?ssl_cert_reqs=maybe", "ssl_cert_reqs has a value that is not required"),
        ("redis+sentinel://a/m?db=1", "unknown option; known are sentinel_username"),
    ],
)
def test_invalid_sentinel_url_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_sentinel_url(text)


def test_passwords_are_not_shown() -> None:
    shown = repr(parse_sentinel_url("redis+sentinel://u:geheim@a/m?sentinel_password=verborgen"))
    assert "geheim" not in shown
    assert "verborgen" not in shown


def test_plain_redis_url_is_not_a_sentinel_url() -> None:
    assert not is_sentinel_url("redis://a/0")
