"""Target URLs of our Linq subscriptions, and the parsing of an incoming request's URL.

    {public_url}/webhooks/linq?version=2026-02-03&line=16465550123&gen=1&owner=3f9a02c1

`version` is read by Linq (it selects the payload's shape), `line` and `gen` by the ingress, and `owner` by bootstrap: a
tag of the Redis of the relay that made the subscription (`Keyring.owner_tag`). Linq accepts a URL once per account
(https://docs.linqapp.com/api/python/resources/webhook_subscriptions), so every line, and during a rotation every
generation of it, has its own. The v2 API has no generations: its one subscription is at {public_url}/webhooks/linq/v2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from relay.core.lines import digits_of_line, line_of_digits

V3_PATH = "/webhooks/linq"
V2_PATH = "/webhooks/linq/v2"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
PAYLOAD_VERSION = "2026-02-03"


@dataclass(frozen=True, slots=True)
class Target:
    """Parsed query of one of our URLs."""

    line: str | None
    """Line; None if the query has none, or an invalid one."""
    named: bool
    """True if the query has a `line` at all: an invalid line is not the same as none."""
    generation: int | None = None
    version: str | None = None
    owner: str | None = None
    """Owner tag; None if the query has none, as those of older releases."""


def target_url(public_url: str, line: str | None, generation: int, owner: str | None = None) -> str:
    """Return the URL for one generation of a line's Linq subscription, or of the account's, which has no line.

    `owner` is the owner tag.
    """
    named = {"line": digits_of_line(line)} if line else {}
    tag = {"owner": owner} if owner else {}
    query = urlencode({"version": PAYLOAD_VERSION, **named, "gen": generation, **tag})
    return f"{public_url.rstrip('/')}{V3_PATH}?{query}"


@lru_cache(maxsize=4096)
def target_of_query(query: str) -> Target:
    """Parse a request's query string; unknown parameters are ignored, and the first of a repeated one counts."""
    found = parse_qs(query, keep_blank_values=True)
    digits = found.get("line")
    generation = found.get("gen", [""])[0]
    return Target(
        line=line_of_digits(digits[0]) if digits else None,
        named=bool(digits),
        generation=int(generation)
        if generation.isdecimal() and generation.isascii() and len(generation) < 10
        else None,
        version=found.get("version", [None])[0],
        owner=found.get("owner", [""])[0] or None,
    )


def our_target(public_url: str, url: str) -> Target | None:
    """Parse `url` if it is a target URL of this relay; None if it is not."""
    return target_of_query(urlsplit(url).query) if _is_same_place(public_url.rstrip("/") + V3_PATH, url) else None


def target_anywhere(url: str) -> Target | None:
    """Parse `url` if its path is that of a target URL, under whatever public URL; None if it is not."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return target_of_query(parts.query) if parts.path.endswith(V3_PATH) else None


def v2_url(public_url: str) -> str:
    """Return the URL of the one v2 subscription."""
    return public_url.rstrip("/") + V2_PATH


def is_our_v2_url(public_url: str, url: str) -> bool:
    """Return True if this relay receives v2 events at `url`, whatever its query."""
    return _is_same_place(v2_url(public_url), url)


def fault_of_url(public_url: str, url: str) -> str:
    """Describe why no event can be accepted at `url`, which is under our paths; empty if it is right, or not ours."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    without_slash = parts._replace(path=parts.path.rstrip("/")).geturl()
    if not any(_is_same_place(public_url.rstrip("/") + path, without_slash) for path in (V3_PATH, V2_PATH)):
        return ""
    if parts.path.endswith("/"):
        return "its path ends in a slash, and every event sent there gets 404"
    target = our_target(public_url, url)
    if target is not None and target.named and target.line is None:
        named = parse_qs(parts.query, keep_blank_values=True)["line"][0]
        return f'its line "{named}" is not a phone number, such as 16465550123'
    return ""


def _is_same_place(url: str, other: str) -> bool:
    """Return True if two URLs are equal except for their queries."""
    try:
        left, right = urlsplit(url), urlsplit(other)
        return _place(left) == _place(right)
    except ValueError:
        return False


def _place(url: SplitResult) -> tuple[str, str, str]:
    """Return scheme, authority and path; a default port counts as none, since Linq may add or remove it."""
    return url.scheme, url.netloc.lower().removesuffix(_DEFAULT_PORTS.get(url.scheme, "")), url.path
