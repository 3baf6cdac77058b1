"""URLs of Redis, as the relay's REDIS_URL.

    redis://[user:password@]host[:port][/db]          rediss:// is the same over TLS
    unix://[user:password@]/path/to/redis.sock[?db=0]
    redis+sentinel://[user:password@]host[:port][,host[:port] ...]/service[/db][?sentinel_password=...]
    redis+cluster://[user:password@]host[:port][,host[:port] ...]

`rediss+sentinel://` and `rediss+cluster://` are over TLS, also to the Sentinels. User and password are those of Redis;
`sentinel_username` and `sentinel_password` are those of the Sentinels.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

SOCKET_TIMEOUT = 5.0
"""Seconds for a round trip, longer than any blocking read."""

_SCHEMES = ("redis://", "rediss://", "unix://")
_SENTINEL_SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
_CLUSTER_SCHEMES = ("redis+cluster://", "rediss+cluster://")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_PORT = 26379
_CLUSTER_PORT = 6379
_SAMPLE = "redis+sentinel://sentinel-1:26379,sentinel-2:26379/mymaster"
_CLUSTER_SAMPLE = "redis+cluster://node-1:6379,node-2:6379"


class SentinelUrl(NamedTuple):
    """A Redis behind Sentinels, with the options of clients as redis-py takes them."""

    sentinels: list[tuple[str, int]]
    service: str
    options: dict[str, Any]
    """Options for Redis."""
    sentinel_options: dict[str, Any]
    """Options for the Sentinels."""


def is_sentinel(url: str) -> bool:
    """Return True if `url` is that of a Redis behind Sentinels.

    Raises:
        ValueError: it has none of the forms above.
    """
    if url.startswith(_SENTINEL_SCHEMES):
        return True
    if not url.startswith((*_SCHEMES, *_CLUSTER_SCHEMES)):
        known = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
        raise ValueError(f"the URL of Redis must start with {known}")
    return False


def is_cluster(url: str) -> bool:
    """Return True if `url` is that of a cluster."""
    return url.startswith(_CLUSTER_SCHEMES)


def parse_cluster(text: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Parse the URL of a cluster into nodes, and options of a client as redis-py takes them.

    Raises:
        ValueError: it does not have that form; the message shows no part of it, since that can be a password.
    """
    url = urlsplit(text)
    user_info, _, hosts = url.netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    given = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    has_tls = url.scheme.startswith("rediss")
    if not hosts or url.path.strip("/") not in {"", "0"}:
        raise ValueError(f"the URL of the cluster does not have the form {_CLUSTER_SAMPLE}")
    if set(given).difference(_TLS if has_tls else ()):
        raise ValueError(f"the URL of the cluster has an unknown option; over TLS, known are {', '.join(_TLS)}")
    credentials = {"username": unquote(username) or None, "password": unquote(password) or None}
    nodes = [
        _host_and_port(f"node {number}", host, _CLUSTER_PORT, _CLUSTER_SAMPLE)
        for number, host in enumerate(hosts.split(","), 1)
    ]
    return nodes, {**_sockets(), **(_tls(given) if has_tls else {}), **credentials, "client_name": "linq-relay"}


def options_of(url: str) -> dict[str, Any]:
    """Return options for a client of a plain `url`; those in the URL itself take precedence.

    Protocol 2, since 3 would need another right (HELLO); no names of the library, which cost each connection two round
    trips. The check that a certificate is for its host is not the default of every version of redis-py.
    """
    options: dict[str, Any] = {**_sockets(), "protocol": 2, "client_name": "linq-relay"}
    if url.startswith("unix://"):
        del options["socket_keepalive"]  # TCP's
    if url.startswith("rediss://"):
        given = parse_qs(urlsplit(url).query).get("ssl_cert_reqs", ["required"])[-1]
        options["ssl_check_hostname"] = given == "required"
    return options


def parse_sentinel(text: str) -> SentinelUrl:
    """Parse the URL of a Redis behind Sentinels.

    Raises:
        ValueError: it does not have that form; the message shows no part of it, since that can be a password.
    """
    url = urlsplit(text)
    user_info, _, hosts = url.netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    service, _, db = url.path.strip("/").partition("/")
    given = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    if not hosts or not service or not (db or "0").isdecimal():
        raise ValueError(f"the URL of the Sentinels does not have the form {_SAMPLE}")
    if set(given).difference(("sentinel_username", "sentinel_password", *_TLS)):
        known = ", ".join(("sentinel_username", "sentinel_password", *_TLS))
        raise ValueError(f"the URL of the Sentinels has an unknown option; known are {known}")
    shared = _sockets()
    if url.scheme.startswith("rediss"):
        shared.update(_tls(given))
    credentials = {"username": unquote(username) or None, "password": unquote(password) or None}
    of_sentinels = {name: given.get(f"sentinel_{name}") for name in ("username", "password")}
    return SentinelUrl(
        [_host_and_port(f"Sentinel {number}", host, _PORT, _SAMPLE) for number, host in enumerate(hosts.split(","), 1)],
        unquote(service),
        {**shared, **credentials, "db": int(db or 0), "protocol": 2, "client_name": "linq-relay"},
        {**shared, **of_sentinels},
    )


def _tls(given: dict[str, str]) -> dict[str, Any]:
    is_checked = given.get("ssl_check_hostname", str(given.get("ssl_cert_reqs", "required") == "required"))
    options: dict[str, Any] = {name: given[name] for name in _TLS if name in given}
    return {**options, "ssl": True, "ssl_check_hostname": is_checked.lower() == "true"}


def _sockets() -> dict[str, Any]:
    return {"socket_timeout": SOCKET_TIMEOUT, "socket_connect_timeout": SOCKET_TIMEOUT, "socket_keepalive": True}


def _host_and_port(what: str, text: str, default_port: int, sample: str) -> tuple[str, int]:
    host, colon, port = (text, "", "") if text.endswith("]") else text.rpartition(":")
    if not colon:
        host, port = text, str(default_port)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{what} is not HOST or HOST:PORT, such as in {sample}; percent-encode passwords")
    return host.strip("[]"), int(port)
