"""Translate a body from one version to the other.

A body that has the wanted version already is returned as it is. One that cannot be translated is returned as it is too,
and marked: an event of v2, of a version or a type that no rule knows, of a type that the wanted version lacks, or
without something that the wanted version requires. Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.core.json_text import parse_json
from relay.linq.payloads.translation.rules import RULES, V2025, V2026

if TYPE_CHECKING:
    from relay.linq.payloads.translation.json_objects import Json

UNTRANSLATED: Final = "untranslated"
"""The mark of a body that is not of the wanted version and is as Linq sent it."""

SHAPES = (V2026, V2025)
"""The versions between which bodies are translated."""


class Translation(NamedTuple):
    """A body to deliver."""

    body: bytes
    version: str
    """The version of `body`."""
    mark: str | None
    """The version that the relay made, or `UNTRANSLATED`; None if Linq sent the body in the wanted version."""


def translate(body: bytes, event_type: str, version: str, shape: str) -> Translation:
    """Return `body`, an event of this type in `version`, in the version `shape`."""
    if version == shape:
        return Translation(body, version, None)
    rule = RULES.get(event_type)
    if version not in SHAPES or rule is None or shape not in rule.to:
        return Translation(body, version, UNTRANSLATED)
    try:
        envelope = parse_json(body)
        data = rule.to[shape](envelope["data"], envelope)
        made = _text({**envelope, "webhook_version": shape, "data": data})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # it has another form than is documented
        return Translation(body, version, UNTRANSLATED)
    return Translation(made, shape, shape)


def _text(envelope: Json) -> bytes:
    """Return the JSON of an envelope.

    Raises:
        ValueError: it has a number that JSON cannot write, which is one that is too large for a float.
    """
    try:
        return json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(envelope, allow_nan=False, separators=(",", ":")).encode()
