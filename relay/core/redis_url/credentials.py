"""The user name and the password of REDIS_URL, and their variables (REDIS_USERNAME, REDIS_PASSWORD).

A platform that keeps secrets often gives the password alone, and a URL with a password in it must be percent-encoded.
Either the URL has the credentials or the variables do, never both: it would not be clear which of them count.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit


def has_credentials(url: str) -> bool:
    """Return True if `url` has a user name or a password of Redis."""
    return "@" in urlsplit(url).netloc


def with_credentials(url: str, username: str | None, password: str | None) -> str:
    """Return `url`, which has no credentials, with these."""
    user_info = quote(username or "", safe="") + (f":{quote(password, safe='')}" if password else "")
    return url.replace("://", f"://{user_info}@", 1) if user_info else url
