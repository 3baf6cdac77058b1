"""Form of REDIS_URL for a Redis behind Sentinel.

    redis+sentinel://[user:password@]host[:port][,host[:port] ...]/service[/db][?sentinel_password=...]

`rediss+sentinel` is the same over TLS. User and password are those of Redis; `sentinel_username` and
`sentinel_password` are those of the Sentinels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES = ("redis+sentinel", "rediss+sentinel")
_PORT = 26379
_LAST_PORT = 65535
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
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    if options.keys() - {"sentinel_username", "sentinel_password"}:
        raise ValueError(
            "unknown option; known are sentinel_username and sentinel_password "
            "(percent-encode special characters of passwords)"
        )
    if not hosts or not service or not (db or "0").isdecimal():
        raise ValueError(f"it does not have the form {_SAMPLE}")
    return SentinelUrl(
        sentinels=tuple(_host_and_port(number, host) for number, host in enumerate(hosts.split(","), 1)),
        service=unquote(service),
        db=int(db or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        has_tls=url.scheme.startswith("rediss"),
        **options,
    )


def _host_and_port(number: int, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
        raise ValueError(f"Sentinel {number} is not HOST or HOST:PORT, such as in {_SAMPLE}; percent-encode passwords")
    return host.strip("[]"), int(port)
