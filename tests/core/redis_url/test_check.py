"""REDIS_URL: accepted and refused forms; a refusal shows no secret."""

from __future__ import annotations

import pytest

from relay.core.redis_url.check import check_redis_url


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://redis.internal:6379/0",
        "redis://relay:p%40ss%2Fword@redis.internal:6379/3",
        "redis://:password@[::1]:6379",
        "redis://redis.internal?db=3",
        "rediss://redis.internal:6380/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required&ssl_check_hostname=false",
        "rediss://redis.internal/0?ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
        "unix:///run/redis/redis.sock",
        "unix://relay:password@/run/redis/redis.sock?db=2",
        "redis+sentinel://one:26379,two/mymaster/1?sentinel_password=p",
    ],
)
def test_documented_forms_are_accepted(url: str) -> None:
    check_redis_url(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://redis.internal", "must start with redis://"),
        ("redis.internal:6379", "must start with redis://"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://redis.internal/zero", "number of a database"),
        ("redis://redis.internal/0/1", "number of a database"),
        ("redis://redis.internal:99999", "host and port cannot be read"),
        ("redis://redis.internal?protocol=3", r"option that the relay does not accept \(protocol\): it knows db"),
        ("redis://redis.internal?decode_responses=true", r"does not accept \(decode_responses\)"),
        ("redis://redis.internal?max_connections=2", r"does not accept \(max_connections\)"),
        ("redis://redis.internal?ssl_cert_reqs=none", r"does not accept \(ssl_cert_reqs\)"),
        ("redis://redis.internal?db=one", "option db has a value that is not a number"),
        ("redis://redis.internal?db=1&db=2", "option twice"),
        ("rediss://redis.internal?ssl_cert_reqs=maybe", "ssl_cert_reqs has a value that is not required"),
        ("rediss://redis.internal?ssl_ca_certs=", "ssl_ca_certs has a value"),
        ("unix://run/redis.sock", "by an absolute path"),
        ("unix://", "by an absolute path"),
        ("redis+sentinel://one/mymaster?db=1", "unknown option; known are"),
        ("redis+sentinel://one:port/mymaster", "not HOST or HOST:PORT"),
    ],
)
def test_ambiguous_or_invalid_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_redis_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2/x@redis.internal:6379/0",
        "redis://relay:1234/hunter2@redis.internal/0",
        "redis://:hunter2#x@redis.internal/0",
        "redis://:x?hunter2@redis.internal/0",
        "redis://:hunter2@redis.internal:hunter2/0",
        "rediss://:a[hunter2@redis.internal/0",
        "redis://:x?hunter2&y@redis.internal/0",
        "redis+sentinel://:hunter2/x@one/mymaster",
        "redis+sentinel://:x@one:hunter2/mymaster",
        "redis+sentinel://:x?hunter2@one/mymaster",
    ],
)
def test_refusal_shows_no_part_of_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        check_redis_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
