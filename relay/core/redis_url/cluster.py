"""Form of REDIS_URL for a Redis Cluster.

    redis+cluster://[user:password@]host[:port][,host[:port] ...]

`rediss+cluster` is the same over TLS, with the options of `redis_url.tls_options`. The hosts are any nodes of the
cluster; a few of them, since one must answer. A cluster has one database, 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from relay.core.redis_url.hosts import authority_in, hosts_and_ports
from relay.core.redis_url.tls_options import TLS_OPTIONS, tls_arguments

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
    authority = authority_in(url.netloc)
    options = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    has_tls = url.scheme.startswith("rediss")
    database = url.path.strip("/") or options.pop("db", "0")
    if database.isdecimal() and int(database):
        raise ValueError("it names a database, and a cluster has only database 0: leave the number out")
    if not authority.hosts or url.fragment or "@" in url.path or not database.isdecimal():
        raise ValueError(f"it does not have the form {_SAMPLE} (percent-encode special characters of passwords)")
    if options.keys() - (TLS_OPTIONS.keys() if has_tls else set()):
        known = f"known are {', '.join(TLS_OPTIONS)}" if has_tls else "it can have none without TLS (rediss+cluster)"
        raise ValueError(f"unknown option; {known} (percent-encode special characters of passwords)")
    tls = tls_arguments(options)
    return ClusterUrl(
        nodes=hosts_and_ports(authority.hosts, _PORT, "node", _SAMPLE),
        username=authority.username,
        password=authority.password,
        has_tls=has_tls,
        tls=tls,
    )
