"""The forms of variables: a function returns the value that a text stands for, or raises a ValueError that says why.

No message repeats a value that could be a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from relay.core.durations import parse_duration
from relay.core.net.masked_url import unreadable_url
from relay.core.redis_url.check import check_redis_url
from relay.core.redis_url.tls_options import tls_files
from relay.core.secret import normal_key
from relay.net.listen_address import parse_listen

DEFAULT_LINQ_V3 = "https://api.linqapp.com/api/partner"
DEFAULT_LINQ_V2 = "https://api.linqapp.com/api/partner/v2"
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def listen(value: Any) -> Any:
    """Return the address and port of a listener."""
    return parse_listen(value) if isinstance(value, str) else value


def public_url(text: str) -> str:
    """Return the public URL of the ingress, without a slash at its end."""
    try:
        url = urlsplit(text)
        host = url.hostname
        is_valid = url.port != 0 and not any(map(str.isspace, text))  # reading the port checks it
    except ValueError:
        host, is_valid = None, False
    if not host or not is_valid or url.scheme not in {"http", "https"}:
        raise ValueError(unreadable_url(text, "a URL such as https://relay.example.com"))
    if url.query or url.fragment or "?" in text or "#" in text:
        raise ValueError("it must have no query and no fragment: the relay adds its own")
    if url.username or url.password:
        raise ValueError("it must have no user and no password: Linq shows the URL to every user of the account")
    if url.scheme == "http" and host not in LOOPBACK:
        raise ValueError("it must be https: Linq posts to https only (http is for a sandbox on this machine)")
    default = f":{_DEFAULT_PORTS[url.scheme]}"  # removed, because Linq may remove it too
    return url._replace(netloc=url.netloc.removesuffix(default)).geturl().rstrip("/")


def api_url(text: str) -> str:
    """Return the base URL of an API."""
    try:
        url = urlsplit(text)
        is_valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError(unreadable_url(text, f"a URL such as {DEFAULT_LINQ_V3}"))
    if url.query or url.fragment or url.username is not None:
        raise ValueError(
            "it must have no user, no password, no query and no fragment: the key has a variable of its own"
        )
    return text


def redis_url(text: str) -> str:
    """Return the URL of Redis."""
    check_redis_url(text)
    for option, path in tls_files(text).items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise ValueError(f"the file of its option {option} cannot be read: {error.strerror}") from None
    return text


def key_prefix(text: str) -> str:
    """Return the prefix of the keys in Redis."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text) or text == "arq":
        raise ValueError(
            "it must have 1 to 64 letters, digits, `_`, `-` and `.`, begin with a letter or digit, and not be `arq`"
        )
    return text


def header_value(secret: SecretStr) -> SecretStr:
    """Return a secret that is sent in a header."""
    text = secret.get_secret_value().strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError("it has a character that is not allowed in an HTTP header; copy the value again, alone")
    return SecretStr(text)


def secret_key(secret: SecretStr) -> SecretStr:
    """Return a key in its normal form."""
    return SecretStr(normal_key(secret.get_secret_value()))


def secret_keys(secrets: SecretStr) -> SecretStr:
    """Return keys in their normal forms, separated by commas."""
    return SecretStr(",".join(map(normal_key, secrets.get_secret_value().split(","))))


def duration(value: Any) -> Any:
    """Return seconds."""
    return parse_duration(value) if isinstance(value, str) else value


def seconds(value: Any) -> Any:
    """Return a duration of which a number alone is in seconds."""
    return value if isinstance(value, str) and value.strip().isdecimal() else duration(value)


def shown(value: Any) -> str:
    """Return a value in the form of its variable: the parts of a list are separated by commas."""
    return ", ".join(map(str, value)) if type(value) is tuple else str(value)
