"""Contracts and samples as Redis has them: JSON, in which a later release may have more."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.contracts.facts import FACTS, Pair
from relay.contracts.learning import Contract, Share
from relay.contracts.redaction import redacted_json

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SAMPLE = 16 * 1024
"""Characters of a sample; a longer one is not kept. All samples together take 10 MB at most, usually less than 1 MB."""
_MAX_BODY = 64 * 1024  # bytes: a longer body is not parsed for a sample


class Sample(NamedTuple):
    """A redacted payload."""

    at_ms: int
    """Unix milliseconds at which it was kept."""
    payload: Any


class Samples(NamedTuple):
    """The redacted payloads of a pair."""

    usual: Sample | None
    """Of an event with the most facts; None if there is none yet."""
    changed: Sample | None
    """Of an event that lacked what was lost; None if nothing was."""


def text_of(contract: Contract) -> str:
    """Return a contract as it is stored."""
    shares = {fact: list(asdict(share).values()) for fact, share in contract.shares.items()}
    rest = {name: getattr(contract, name) for name in ("first_ms", "last_ms", "events", "changes", "sampled_ms")}
    return json.dumps({**rest, "shares": shares}, separators=(",", ":"))


def contract_of(pair: Pair, text: bytes | None) -> Contract | None:
    """Return a stored contract; None if there is none, or it cannot be read and is learned again."""
    try:
        found: Mapping[str, Any] = json.loads(text or b"{}")
        return Contract(
            pair,
            int(found["first_ms"]),
            int(found["last_ms"]),
            int(found["events"]),
            {fact: Share(*map(int, found["shares"][fact])) for fact in FACTS if fact in found["shares"]},
            {str(change): int(at_ms) for change, at_ms in found["changes"].items()},
            int(found["sampled_ms"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def usual_field(pair: Pair) -> str:
    """Return the field of the usual sample of a pair."""
    return f"{pair} usual"


def changed_field(pair: Pair) -> str:
    """Return the field of the sample that showed the newest change of a pair."""
    return f"{pair} changed"


def sample_text(body: bytes | None, at_ms: int) -> str | None:
    """Return a body as a stored sample; None if there is none, or it is too long or no JSON."""
    redacted = redacted_json(body, MAX_SAMPLE) if body and len(body) <= _MAX_BODY else None
    return None if redacted is None else f"[{at_ms},{redacted}]"


def sample_of(text: bytes | None) -> Sample | None:
    """Return a stored sample; None if there is none, or it cannot be read."""
    try:
        at_ms, payload = json.loads(text or b"")
        return Sample(int(at_ms), payload)
    except (ValueError, TypeError):
        return None
