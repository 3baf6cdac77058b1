from __future__ import annotations

import pytest

from relay.core.config.linq import LinqV2
from relay.core.config.relay_toml import parse_config
from relay.core.errors import ConfigError


@pytest.mark.parametrize(
    ("rules", "v2"),
    [
        ("", None),
        ("[linq]", None),
        ("[linq.v2]", LinqV2()),
        ("[linq]\nheal = true\n[linq.v2]\n", LinqV2()),
        ('[linq.v2]\nevents = ["message.*", "call.completed"]', LinqV2(events=("message.*", "call.completed"))),
    ],
)
def test_v2_table_is_optional(rules: str, v2: LinqV2 | None) -> None:
    assert parse_config(rules).linq.v2 == v2


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("events = []", "relay.toml:2 linq.v2.events", "the list is empty"),
        ('events = ["message.*.x"]', "relay.toml:2 linq.v2.events[0]", "is not an event-type pattern"),
        ("enabled = true", "relay.toml:2 linq.v2.enabled", 'unknown key "enabled"'),
    ],
)
def test_mistake_in_v2_table_is_reported_with_its_line(line: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"[linq.v2]\n{line}\n")
    (problem,) = caught.value.problems
    assert problem.place == place
    assert message in problem.message
