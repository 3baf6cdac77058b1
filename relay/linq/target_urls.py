"""The target URLs that our Linq subscriptions have, and what an incoming request's URL says.

    {public_url}/webhooks/linq?version=2026-02-03&line=16465550123&gen=1

`version` is read by Linq (it chooses the payload's shape), `line` and `gen` by us. Linq takes a URL once per account,
so every line, and every generation of it while a rotation goes on, has its own. The v2 API has no generations: its one
subscription is at {public_url}/webhooks/linq/v2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qs, urlencode, urlsplit

from relay.core.lines import digits_of_line, line_of_digits

V3_PATH = "/webhooks/linq"
V2_PATH = "/webhooks/linq/v2"
PAYLOAD_VERSION = "2026-02-03"


@dataclass(frozen=True, slots=True)
class Target:
    """What the query of one of our URLs names."""

    line: str | None
    """The line; None if the query names none."""
    named: bool
    """Whether the query has a `line` at all: one that is no number is not the same as none."""
    generation: int | None = None
    version: str | None = None


def target_url(public_url: str, line: str | None, generation: int) -> str:
    """The URL for one generation of a line's Linq subscription, or of the account's, which has no line."""
    named = {"line": digits_of_line(line)} if line else {}
    query = urlencode({"version": PAYLOAD_VERSION, **named, "gen": generation})
    return f"{public_url.rstrip('/')}{V3_PATH}?{query}"


@lru_cache(maxsize=4096)
def target_of_query(query: str) -> Target:
    """What a request's query string names; other parameters are tolerated, of a repeated one the first counts."""
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
    )


def our_target(public_url: str, url: str) -> Target | None:
    """What `url` names if it is a target URL of this relay; None if it is somebody else's."""
    return target_of_query(urlsplit(url).query) if _is_same_place(public_url.rstrip("/") + V3_PATH, url) else None


def v2_url(public_url: str) -> str:
    """The URL of the one v2 subscription."""
    return public_url.rstrip("/") + V2_PATH


def is_our_v2_url(public_url: str, url: str) -> bool:
    """Whether `url`, whatever its query, is one that this relay receives v2 events at."""
    return _is_same_place(v2_url(public_url), url)


def _is_same_place(url: str, other: str) -> bool:
    """Whether two URLs differ in their queries at most."""
    try:
        one, two = urlsplit(url), urlsplit(other)
    except ValueError:
        return False
    return (one.scheme, one.netloc.lower(), one.path) == (two.scheme, two.netloc.lower(), two.path)
