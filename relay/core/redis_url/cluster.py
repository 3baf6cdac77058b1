"""Form of REDIS_URL for a Redis Cluster.

    redis+cluster://[user:password@]host[:port][,host[:port] ...]

`rediss+cluster` is the same over TLS, with the options of `redis_url.tls_options`. The hosts are any nodes of the
cluster; a few of them, since one must answer. A cluster has one database, 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from relay.core.redis_url.hosts import host_and_port
from relay.core.redis_url.tls_options import TLS_OPTIONS, is_tls_value

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("redis+cluster", "rediss+cluster")
_PORT = 6379
_SAMPLE = "redis+cluster://node-1:6379,node-2:6379"


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """A cluster, by some of its nodes."""

    nodes: tuple[tuple[str, int], ...]
    """Hosts and ports."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    has_tls: bool = False
    tls: Mapping[str, str | bool] = field(default_factory=dict)
    """Options of TLS, as redis-py takes them."""


def is_cluster_url(text: str) -> bool:
    """Return True if `text` has a scheme of a cluster."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def parse_cluster_url(text: str) -> ClusterUrl:
    """Parse the URL of a cluster.

    Raises:
        ValueError: it does not have that form.
    """
    url = urlsplit(text)
    user_info, _, hosts = url.netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    options = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    has_tls = url.scheme.startswith("rediss")
    database = url.path.strip("/") or options.pop("db", "0")
    if database.isdecimal() and int(database):
        raise ValueError("it names a database, and a cluster has only database 0: leave the number out")
    if not hosts or url.fragment or "@" in url.path or not database.isdecimal():
        raise ValueError(f"it does not have the form {_SAMPLE} (percent-encode special characters of passwords)")
    if options.keys() - (TLS_OPTIONS.keys() if has_tls else set()):
        known = f"known are {', '.join(TLS_OPTIONS)}" if has_tls else "it can have none without TLS (rediss+cluster)"
        raise ValueError(f"unknown option; {known} (percent-encode special characters of passwords)")
    if wrong := next((name for name, value in options.items() if not is_tls_value(name, value)), None):
        raise ValueError(f"its option {wrong} has a value that is not {TLS_OPTIONS[wrong]}")
    return ClusterUrl(
        nodes=tuple(
            host_and_port(host, _PORT, f"node {number}", _SAMPLE) for number, host in enumerate(hosts.split(","), 1)
        ),
        username=unquote(username) or None,
        password=unquote(password) or None,
        has_tls=has_tls,
        tls={name: value == "true" if name == "ssl_check_hostname" else value for name, value in options.items()},
    )
