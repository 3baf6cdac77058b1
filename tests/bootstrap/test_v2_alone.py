"""A relay with v2 alone, or with both APIs: the topics that get nothing, or a message twice."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from relay.bootstrap.reconciling.both import doubled, without_v2_events
from relay.config.settings import Settings
from tests.building import config_of

TOPICS = '[[topics]]\nname = "in"\nevents = ["message.received"]\n[[topics]]\nname = "polls"\nevents = ["poll.*"]\n'


@pytest.mark.parametrize(
    ("table", "has_v3", "twice", "nothing"),
    [
        ("[linq.v2]\n", False, False, ["polls"]),
        ("[linq.v2]\n", True, True, []),
        ("", True, False, []),
    ],
    ids=["v2 alone", "both", "v3 alone"],
)
def test_topics_that_get_nothing_or_a_message_twice(
    table: str, *, has_v3: bool, twice: bool, nothing: list[str]
) -> None:
    settings = Settings(linq_api_v3_api_key=SecretStr("key") if has_v3 else None)
    config = config_of(table + TOPICS)
    assert bool(doubled(settings, config)) == twice
    assert without_v2_events(settings, config) == nothing
