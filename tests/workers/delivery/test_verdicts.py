from __future__ import annotations

from typing import Any

import pytest

from relay.core.delivery.outcome import DeadLettered, Filtered, Verdict
from relay.store.lanes.delivery import Delivery, Ref
from tests.workers.transport.test_sender import delivery, subscription
from workers.delivery.verdicts import verdict_without_attempt

LOST = DeadLettered("lost: the entry was deleted from its stream")
OLD = DeadLettered("expired: older than 1m")


@pytest.mark.parametrize(
    ("policy", "fields", "verdict"),
    [
        ({}, {}, None),
        ({"events": ["message.sent"]}, {}, Filtered()),
        ({"lines": ["+16465550199"]}, {}, Filtered()),
        ({"freshness": "history"}, {}, Filtered()),
        ({"retry": ["1s"], "max_age": "1m"}, {"at": "1000"}, OLD),
        ({"retry": ["1s"], "max_age": "1m"}, {"at": "1001"}, None),
        ({"retry": ["1s"], "max_age": "1m", "events": ["message.sent"]}, {"at": "1000"}, Filtered()),
    ],
)
def test_verdict_follows_the_subscription(
    policy: dict[str, Any], fields: dict[str, str], verdict: Verdict | None
) -> None:
    assert verdict_without_attempt(delivery(b"{}", **fields), subscription("http://x/", **policy), 61_001) == verdict


def test_lost_and_unreadable_entries_are_dead_lettered() -> None:
    lost = Delivery(Ref("relay:topic:support", "5-0"), {})
    assert verdict_without_attempt(lost, subscription("http://x/"), 0) == LOST
    unreadable = verdict_without_attempt(delivery(b"{}", at="yesterday"), subscription("http://x/"), 0)
    assert isinstance(unreadable, DeadLettered)
    assert unreadable.reason.startswith("unreadable: ")
