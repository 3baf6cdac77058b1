"""The options of REDIS_URL for TLS: of `rediss://`, `rediss+sentinel://` (also for the Sentinels) and `rediss+cluster://`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

TLS_OPTIONS = {
    "ssl_ca_certs": "a file of certificate authorities, PEM",
    "ssl_certfile": "a client certificate, PEM",
    "ssl_keyfile": "its key, PEM",
    "ssl_cert_reqs": "required (default), optional or none",
    "ssl_check_hostname": "true (default) or false",
}
_VALUES = {"ssl_cert_reqs": {"required", "optional", "none"}, "ssl_check_hostname": {"true", "false"}}
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def is_tls_value(option: str, value: str) -> bool:
    """Return True if `value` is a value of `option`."""
    return bool(value) and value in _VALUES.get(option, {value})


def tls_arguments(options: Mapping[str, str]) -> dict[str, str | bool]:
    """Return options of `TLS_OPTIONS` as redis-py takes them.

    Raises:
        ValueError: one has a value that it cannot have.
    """
    if wrong := next((name for name, value in options.items() if not is_tls_value(name, value)), None):
        raise ValueError(f"its option {wrong} has a value that is not {TLS_OPTIONS[wrong]}")
    return {name: value == "true" if name == "ssl_check_hostname" else value for name, value in options.items()}


def tls_files(url: str) -> dict[str, str]:
    """Return the options in `url` that name a file, with the path of each."""
    options = parse_qs(urlsplit(url).query)
    return {name: options[name][-1] for name in _FILES if name in options}
