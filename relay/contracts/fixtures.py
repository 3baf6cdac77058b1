"""Fixtures: redacted payloads that a team commits, one file for each structure of an event type and version.

The name and the content of a file follow from the structure alone, so recording the same structure again changes
nothing. Of the structures that occur, as many are kept as it takes to have every key and
every type of value, whether a key is there or not, and some more.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.contracts.facts import Pair
from relay.contracts.redaction import Values, redact
from relay.contracts.shapes import ABSENT, Shape, differences, merged, parent_occurs, shape_of
from relay.core.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from relay.contracts.shapes import Difference

SUFFIX = ".json"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]|^\.")
_NAME = re.compile(r"(?P<type>.+)\.(?P<version>[^.]+)\.[0-9a-f]{8}\.json")
_OLDEST = "2025-01-01"
_MAX_PART = 110  # characters of a type, and of a version, in a name: file systems allow 255 bytes


@dataclass(frozen=True, slots=True)
class Fixture:
    """A redacted payload."""

    pair: Pair
    text: str
    """The content of its file: JSON with sorted keys."""

    @property
    def name(self) -> str:
        """The name of its file."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        return f"{file_part(self.pair)}.{digest}{SUFFIX}"

    @property
    def payload(self) -> Any:
        """The parsed content."""
        return parse_json(self.text.encode())


def file_part(pair: Pair) -> str:
    """Return the beginning of the names of the files of a pair."""
    return f"{_safe(pair.type)}.{_safe(pair.version).replace('.', '_')}"


def fixture_of(pair: Pair, body: bytes) -> Fixture | None:
    """Return the fixture of an event; None if its body is no JSON object."""
    try:
        payload = parse_json(body)
        if not isinstance(payload, dict):
            return None
        text = json.dumps(redact(payload, Values()), indent=2, sort_keys=True)
    except (ValueError, RecursionError):
        return None
    return Fixture(pair, f"{text}\n")


def pair_of(payload: Any, name: str) -> Pair | None:
    """Return the type and version of the payload in the file `name`; None if it is no fixture."""
    if not isinstance(payload, dict) or not isinstance(event_type := payload.get("event_type"), str):
        return None
    if (named := _NAME.fullmatch(name)) and named["type"] == _safe(event_type):
        return Pair(event_type, named["version"])
    if payload.get("api_version") == "v2":
        return Pair(event_type, "v2")
    version = payload.get("webhook_version")
    return Pair(event_type, version if isinstance(version, str) else _OLDEST)


def choose(seen: Iterable[Fixture], kept: Sequence[Fixture], most: int) -> list[Fixture]:
    """Return the fixtures of a pair to add to those that are `kept`: what they lack, and up to `most` in all."""
    names = {fixture.name for fixture in kept}
    candidates = {fixture.name: fixture for fixture in seen if fixture.name not in names}
    shapes = {name: shape_of(fixture.payload) for name, fixture in candidates.items()}
    known = [shape_of(fixture.payload) for fixture in kept]
    whole = merged([*known, *shapes.values()]) or Shape()
    required = {place for place, _ in whole.places()}
    features = {name: _features(shape, required) for name, shape in shapes.items()}
    missing = set().union(*features.values()) - {each for shape in known for each in _features(shape, required)}
    chosen: list[Fixture] = []
    while candidates and (missing or len(kept) + len(chosen) < most):
        best = max(sorted(candidates), key=lambda name: (len(features[name] & missing), len(features[name])))
        missing -= features[best]
        chosen.append(candidates.pop(best))
    return chosen


def compare(
    committed: Mapping[Pair, Sequence[Fixture]], held: Mapping[Pair, Sequence[Fixture]]
) -> dict[Pair, list[Difference]]:
    """Return the differences of each pair that is in both."""
    found: dict[Pair, list[Difference]] = {}
    for pair in sorted({*committed} & {*held}):
        before, now = (merged(shape_of(each.payload) for each in side[pair]) for side in (committed, held))
        found[pair] = differences(before or Shape(), now or Shape())
    return found


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text)[:_MAX_PART]


def _features(shape: Shape, places: Collection[str]) -> set[tuple[str, str]]:
    """Return the kinds at each place of a shape, and which places of `places` it lacks."""
    found = dict(shape.places())
    features = {(place, kind) for place, kinds in found.items() for kind in kinds}
    return features | {(place, ABSENT) for place in places if place not in found and parent_occurs(place, found)}
