"""URLs as they may be shown in messages, tables and logs: without user, password, query values and fragment."""

from __future__ import annotations

from urllib.parse import urlsplit

_HIDDEN = "***"

PERCENT_ENCODE = (
    "percent-encode special characters of the user name and the password (/ is %2F, @ %40, : %3A, # %23, ? %3F)"
)
"""The remedy for a URL that cannot be read, which a password is the usual reason for."""


def masked_url(url: str) -> str:
    """Return `url` without what could be a secret; it need not be valid.

    A user name without a password is masked too, since some services expect a token there. A password with a character
    that is not percent-encoded ends the host for a parser: then everything before the last `@` is masked.
    """
    scheme, separator, rest = url.rpartition("://") if url.count("://") == 1 else ("", "", url)
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority = rest[:end]
    at = rest.rfind("@") if not separator or ":" in authority or not _has_host(url) else authority.rfind("@")
    if at >= 0:
        rest = f"{_HIDDEN}@{rest[at + 1 :]}"
    rest, fragment, _ = rest.partition("#")
    rest, question, query = rest.partition("?")
    values = "&".join(_masked_value(part) for part in query.split("&")) if query else ""
    return f"{scheme}{separator}{rest}{question}{values}{f'#{_HIDDEN}' if fragment else ''}"


def unreadable_url(url: str, expected: str) -> str:
    """Return the message for a URL that cannot be used; `expected` is what it should be."""
    remedy = f"; {PERCENT_ENCODE}" if "@" in url else ""
    return f'"{masked_url(url)}" is not {expected}{remedy}'


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where it is not a number
    except ValueError:
        return False
    return bool(parts.hostname)


def _masked_value(part: str) -> str:
    name, separator, _ = part.partition("=")
    return f"{name}={_HIDDEN}" if separator else _HIDDEN
