"""Target: from a subscription's URL to what a request to it needs.

The path and the query are sent as they are written, so that a server that compares or signs them sees what the operator
wrote; only characters that no URL may have are percent-encoded (RFC 3986, 2). relay.toml is checked with the same code
(`relay.config.secrets.lookup`), so a URL that is accepted there can be sent.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple, Self
from urllib.parse import quote

from yarl import URL

_AS_WRITTEN = "!#$%&'()*+,/:;=?@[]~"
_MAX_HOST = 253  # RFC 1035, 2.3.4
_is_name = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?").fullmatch
_finds_control = re.compile(r"[\x00-\x1f\x7f]").search


class Target(NamedTuple):
    """The parts of a URL as they are sent."""

    host: str
    """A name in ASCII, or an address without brackets."""
    port: int
    is_https: bool
    path: str
    """Path and query."""
    host_header: str
    authorization: str | None
    """The value of the Authorization header for the user and password in the URL; None if there are none."""

    @classmethod
    def from_url(cls, text: str) -> Self:
        """Parse a URL.

        Raises:
            ValueError: no request can be sent to it; the message repeats nothing of the URL, which may have a password.
        """
        if _finds_control(text):
            raise ValueError("the url has a control character")
        try:
            url = URL(text)
            host, port = url.raw_host, url.port
            host_header = url.host_port_subcomponent
        except ValueError:
            raise ValueError("the url has a host or a port that cannot be connected to") from None
        if not host or port is None or url.scheme not in {"http", "https"}:
            raise ValueError("the url has no host, or is not http or https")
        if ":" not in host and (len(host) > _MAX_HOST or not _is_name(host)):
            raise ValueError("the host of the url is not a name that DNS can have, or an address")
        return cls(host, port, url.scheme == "https", _path(text), host_header or host, _authorization(url))


def _path(text: str) -> str:
    """Return path and query of a URL as it is written, without its fragment."""
    rest = text.partition("://")[2].partition("#")[0]
    begin = re.search(r"[/?]", rest)
    path = rest[begin.start() :] if begin else ""
    return quote(path if path.startswith("/") else f"/{path}", safe=_AS_WRITTEN)


def _authorization(url: URL) -> str | None:
    """Return the Basic authorization of a URL's user and password (RFC 7617)."""
    if url.raw_user is None and url.raw_password is None:
        return None
    user = url.user or ""
    if ":" in user:
        raise ValueError("the user name in the url has a colon")
    try:
        pair = f"{user}:{url.password or ''}".encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            "the user or the password in the url has a character that is not in Latin-1: "
            'write auth = { username = "env:...", password = "env:..." } instead'
        ) from None
    return f"Basic {b64encode(pair).decode()}"
