from __future__ import annotations

import pytest

from relay.core.event import Event, Freshness, PayloadFields
from tests.building import LINE

EVENT = Event(id="e", type="message.received", version="2026-02-03", line=LINE, fields=PayloadFields())


@pytest.mark.parametrize(
    ("reconciled_at", "freshness"),
    [(None, Freshness.LIVE), ("", Freshness.LIVE), ("2026-09-15T00:00:00Z", Freshness.HISTORY)],
)
def test_reconciled_event_is_history(reconciled_at: str | None, freshness: Freshness) -> None:
    event = EVENT._replace(fields=PayloadFields(reconciled_at=reconciled_at))
    assert event.freshness is freshness


def test_event_is_immutable() -> None:
    with pytest.raises(AttributeError):
        EVENT.line = None  # type: ignore[misc]  # what is tested
    with pytest.raises(AttributeError):
        EVENT.fields.chat = "C"  # type: ignore[misc]  # as above
