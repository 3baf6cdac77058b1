from __future__ import annotations

import pytest

from relay.core.redis_url.cluster import ClusterUrl, is_cluster_url, parse_cluster_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis+cluster://a", ClusterUrl((("a", 6379),))),
        ("redis+cluster://a:1,b:2,[::1]:3/0", ClusterUrl((("a", 1), ("b", 2), ("::1", 3)))),
        ("rediss+cluster://u:p%40ss@a", ClusterUrl((("a", 6379),), "u", "p@ss", has_tls=True)),
        (
            "rediss+cluster://a?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            ClusterUrl((("a", 6379),), has_tls=True, tls={"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}),
        ),
    ],
)
def test_valid_cluster_url_is_parsed(text: str, expected: ClusterUrl) -> None:
    assert is_cluster_url(text)
    assert parse_cluster_url(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis+cluster://", "does not have the form"),
        ("redis+cluster://a/x", "does not have the form"),
        ("redis+cluster://a/1", "a cluster has only database 0"),
        ("redis+cluster://a?db=2", "a cluster has only database 0"),
        ("redis+cluster://a,:2", "node 2 is not HOST"),
        ("redis+cluster://a?ssl_ca_certs=/ca.pem", "it can have none without TLS"),
        ("rediss+cluster://a?ssl_cert_reqs=maybe", "ssl_cert_reqs has a value that is not required"),
    ],
)
def test_invalid_cluster_url_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_cluster_url(text)


def test_password_is_not_shown() -> None:
    assert "geheim" not in repr(parse_cluster_url("redis+cluster://u:geheim@a"))
