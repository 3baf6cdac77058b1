"""The user and the hosts of a REDIS_URL that has several hosts."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

_LAST_PORT = 65535


class Authority(NamedTuple):
    """The part of a URL between its scheme and its path."""

    username: str | None
    password: str | None
    hosts: str
    """As they are written, separated by commas."""


def authority_in(netloc: str) -> Authority:
    """Return the parts of `[user:password@]hosts`."""
    user_info, _, hosts = netloc.rpartition("@")
    username, _, password = user_info.partition(":")
    return Authority(unquote(username) or None, unquote(password) or None, hosts)


def hosts_and_ports(hosts: str, default_port: int, what: str, sample: str) -> tuple[tuple[str, int], ...]:
    """Return the hosts with their ports; an error calls them `what` with a number, and shows a sample of the URL.

    Raises:
        ValueError: one has another form.
    """
    return tuple(
        _host_and_port(host, default_port, f"{what} {number}", sample)
        for number, host in enumerate(hosts.split(","), 1)
    )


def _host_and_port(text: str, default_port: int, what: str, sample: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(default_port)
    if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
        raise ValueError(f"{what} is not HOST or HOST:PORT, such as in {sample}; percent-encode passwords")
    return host.strip("[]"), int(port)
