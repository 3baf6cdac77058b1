"""Form of REDIS_URL for a Redis behind Sentinel.

    redis+sentinel://[user:password@]host[:port][,host[:port] ...]/service[/db][?sentinel_password=...]

`rediss+sentinel` is the same over TLS, with the options of `redis_url.tls_options`. User and password are those of
Redis; `sentinel_username` and `sentinel_password` are those of the Sentinels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from relay.core.redis_url.hosts import host_and_port
from relay.core.redis_url.tls_options import TLS_OPTIONS, is_tls_value

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
    user_info, _, hosts = url.netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    service, _, db = url.path.strip("/").partition("/")
    options = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    has_tls = url.scheme.startswith("rediss")
    tls = {name: options.pop(name) for name in TLS_OPTIONS if has_tls and name in options}
    if options.keys() - {*_CREDENTIALS}:
        known = ", ".join((*_CREDENTIALS, *(TLS_OPTIONS if has_tls else ())))
        raise ValueError(f"unknown option; known are {known} (percent-encode special characters of passwords)")
    if wrong := next((name for name, value in tls.items() if not is_tls_value(name, value)), None):
        raise ValueError(f"its option {wrong} has a value that is not {TLS_OPTIONS[wrong]}")
    if not hosts or not service or not (db or "0").isdecimal():
        raise ValueError(f"it does not have the form {_SAMPLE}")
    return SentinelUrl(
        sentinels=tuple(
            host_and_port(host, _PORT, f"Sentinel {number}", _SAMPLE) for number, host in enumerate(hosts.split(","), 1)
        ),
        service=unquote(service),
        db=int(db or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        has_tls=has_tls,
        tls={name: value == "true" if name == "ssl_check_hostname" else value for name, value in tls.items()},
        **options,
    )
