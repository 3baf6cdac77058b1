"""Bodies of every type of event: those that the sandbox makes, and those in Linq's documents."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.sandbox.events.event import v3_event_of
from relay.sandbox.payloads import NEW, OLD, Scenario, exists_in, known_types
from relay.sandbox.payloads.v2 import v2_body, v2_types
from tests.building import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTED = Path(__file__).parents[1] / "linq" / "payloads" / "samples"
_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"
_TIME = datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC)
_THEIRS = Scenario(line=LINE, chat_id="chat-1", message_id="message-1", occurred_at=_TIME)
_SCENARIOS = (_THEIRS, replace(_THEIRS, ours=True, is_group=True, others=("ann@example.com",), flagged=False))


class Sample(NamedTuple):
    """A body."""

    version: str
    type: str
    body: Any

    @property
    def path(self) -> str:
        """The path of its schema."""
        return f"events/{self.version}/{self.type}.json"


def samples() -> Iterator[Sample]:
    """Yield bodies of every type in every version."""
    for scenario in _SCENARIOS:
        for version in (NEW, OLD):
            for event_type in known_types():
                if exists_in(event_type, version):
                    body = v3_event_of(event_type, _ID, _TIME, scenario).content(version, None).body
                    yield Sample(version, event_type, json.loads(body))
        for event_type in v2_types():
            yield Sample("v2", event_type, json.loads(v2_body(event_type, scenario, _ID, _TIME)))
    for path in sorted(DOCUMENTED.glob("*.json")):
        body = json.loads(path.read_bytes())
        yield Sample(body.get("webhook_version", body["api_version"]), body["event_type"], body)
