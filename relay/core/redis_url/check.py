"""REDIS_URL: which forms and options are accepted, and what they mean.

    redis://[user:password@]host[:port][/db]          rediss:// is the same over TLS
    unix://[user:password@]/path/to/redis.sock[?db=0]
    redis+sentinel://...                              (`redis_url.sentinel`)
    redis+cluster://...                               (`redis_url.cluster`)

redis-py takes any option of its connection classes from the query string, and several of them change what the relay
reads back (`protocol`, `decode_responses`) or how its pool works (`max_connections`). So only the options below pass;
a URL with another one is refused when the settings are read. No message repeats a part of the URL: a password that is
not percent-encoded can end up in any part.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from relay.core.redis_url.cluster import is_cluster_url, parse_cluster_url
from relay.core.redis_url.sentinel import is_sentinel_url, parse_sentinel_url
from relay.core.redis_url.tls_options import TLS_OPTIONS, is_tls_value

SCHEMES = ("redis", "rediss", "unix")
_NOT_ACCEPTED = {
    *("client_name", "decode_responses", "encoding", "encoding_errors", "health_check_interval", "max_connections"),
    *("password", "protocol", "retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_timeout"),
    *("timeout", "username", *TLS_OPTIONS),
}
"""Options of redis-py, which a message may name; anything else could be a part of a password."""
_ENCODE = "percent-encode special characters of the user name and the password (/ is %2F, @ %40, : %3A, # %23, ? %3F)"


def check_redis_url(text: str) -> None:
    """Check that the relay can use `text` as REDIS_URL.

    Raises:
        ValueError: it cannot; the message says why and shows no part of the URL that could be a secret.
    """
    if is_sentinel_url(text):
        parse_sentinel_url(text)
        return
    if is_cluster_url(text):
        parse_cluster_url(text)
        return
    scheme = text.partition("://")[0]
    if scheme not in SCHEMES:
        raise ValueError("it must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  raises where it is not a number
    except ValueError:
        raise ValueError(f"its host and port cannot be read; {_ENCODE}") from None
    if url.fragment or "@" in url.path:
        raise ValueError(f"it is not of the form {scheme}://{_FORMS[scheme]}; {_ENCODE}")
    _check_place(scheme, url.hostname, url.path)
    _check_options(scheme, url.query)


_FORMS = {
    "redis": "[user:password@]host[:port][/db]",
    "rediss": "[user:password@]host[:port][/db]",
    "unix": "[user:password@]/path/to/redis.sock[?db=0]",
}


def _check_place(scheme: str, host: str | None, path: str) -> None:
    if scheme == "unix":
        if host or not path.strip("/"):
            raise ValueError("it must name the socket by an absolute path, such as unix:///run/redis/redis.sock")
    elif not host:
        raise ValueError(f"it names no host: it must be {scheme}://{_FORMS[scheme]}")
    elif not (path.strip("/") or "0").isdecimal():
        raise ValueError(f"its path must be the number of a database, such as /0; {_ENCODE}")


def _check_options(scheme: str, query: str) -> None:
    known = {"db"} | (set(TLS_OPTIONS) if scheme == "rediss" else set())
    given = parse_qsl(query, keep_blank_values=True)
    for name, value in given:
        if name not in known:
            shown = f" ({name})" if name in _NOT_ACCEPTED else ""
            raise ValueError(
                f"it has an option that the relay does not accept{shown}: "
                f"it knows {', '.join(sorted(known))}; {_ENCODE}"
            )
        if (name == "db" and not value.isdecimal()) or not is_tls_value(name, value):
            raise ValueError(f"its option {name} has a value that is not {TLS_OPTIONS.get(name, 'a number')}")
    if len({name for name, _ in given}) < len(given):
        raise ValueError("it has an option twice")
