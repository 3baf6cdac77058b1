"""Form of REDIS_URL for a Redis behind Sentinel.

    redis+sentinel://[user:password@]host[:port][,host[:port] ...]/service[/db][?sentinel_password=...]

`rediss+sentinel` is the same over TLS, with the options of `redis_url.tls_options`. User and password are those of
Redis; `sentinel_username` and `sentinel_password` are those of the Sentinels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from relay.core.redis_url.hosts import authority_in, hosts_and_ports
from relay.core.redis_url.tls_options import TLS_OPTIONS, tls_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("redis+sentinel", "rediss+sentinel")
_CREDENTIALS = ("sentinel_username", "sentinel_password")
_PORT = 26379
_SAMPLE = "redis+sentinel://sentinel-1:26379,sentinel-2:26379/mymaster"


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Service that Sentinels monitor."""

    sentinels: tuple[tuple[str, int], ...]
    """Hosts and ports of the Sentinels."""
    service: str
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    has_tls: bool = False
    tls: Mapping[str, str | bool] = field(default_factory=dict)
    """Options of TLS, as redis-py takes them."""


def is_sentinel_url(text: str) -> bool:
    """Return True if `text` has a Sentinel scheme."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def parse_sentinel_url(text: str) -> SentinelUrl:
    """Parse a URL of a Redis behind Sentinel.

    Raises:
        ValueError: it does not have that form.
    """
    url = urlsplit(text)
    authority = authority_in(url.netloc)
    service, _, db = url.path.strip("/").partition("/")
    options = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    has_tls = url.scheme.startswith("rediss")
    given = {name: options.pop(name) for name in TLS_OPTIONS if has_tls and name in options}
    if options.keys() - {*_CREDENTIALS}:
        known = ", ".join((*_CREDENTIALS, *(TLS_OPTIONS if has_tls else ())))
        raise ValueError(f"unknown option; known are {known} (percent-encode special characters of passwords)")
    tls = tls_arguments(given)
    if not authority.hosts or not service or not (db or "0").isdecimal():
        raise ValueError(f"it does not have the form {_SAMPLE}")
    return SentinelUrl(
        sentinels=hosts_and_ports(authority.hosts, _PORT, "Sentinel", _SAMPLE),
        service=unquote(service),
        db=int(db or 0),
        username=authority.username,
        password=authority.password,
        has_tls=has_tls,
        tls=tls,
        **options,
    )
