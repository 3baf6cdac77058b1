from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.config.checks.toml_positions import TomlPositions
from tests.properties import quick

TEXT = """\
# the rules of the support team
title = "x"

[[topics]]
name = "support"
events = [
  "message.*",  # all of them
  "reaction.*",
]
  lines = ["+16465550123"]

[[ topics ]]   # another
"name" = "all"
'events' = ["*"]

[[subscriptions]]
name = "bot"
[subscriptions.limits]
rate = 5
[other.table]
key = 1
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("title",), "relay.toml:2 title"),
        (("topics", 0), "relay.toml:4 topics[0]"),
        (("topics", 0, "name"), "relay.toml:5 topics[0].name"),
        (("topics", 0, "events", 1), "relay.toml:6 topics[0].events[1]"),
        (("topics", 0, "lines", 0), "relay.toml:10 topics[0].lines[0]"),
        (("topics", 0, "service"), "relay.toml:4 topics[0].service"),
        (("topics", 1), "relay.toml:12 topics[1]"),
        (("topics", 1, "name"), "relay.toml:13 topics[1].name"),
        (("topics", 1, "events", 0), "relay.toml:14 topics[1].events[0]"),
        (("nowhere", 0, "name"), "relay.toml nowhere[0].name"),
        (("subscriptions", 0, "name"), "relay.toml:17 subscriptions[0].name"),
        (("subscriptions", 0, "secret"), "relay.toml:16 subscriptions[0].secret"),
        (("subscriptions", 0, "limits", "rate"), "relay.toml:19 subscriptions[0].limits.rate"),
        (("other", "table", "key"), "relay.toml:21 other.table.key"),
        (("nowhere",), "relay.toml nowhere"),
    ],
)
def test_position_is_the_line_or_the_nearest_parent(path: tuple[str | int, ...], place: str) -> None:
    assert TomlPositions(TEXT, "relay.toml").of(path) == place


def test_inline_table_value_has_the_line_of_its_key() -> None:
    places = TomlPositions('x = 1\ntopics = [{name = "a", events = ["*"]}]\n', "relay.toml")
    assert places.of(("topics", 0, "events", 0)) == "relay.toml:2 topics[0].events[0]"


def test_crlf_ends_a_line() -> None:
    assert TomlPositions("\r\n[[topics]]\r\nname = 1\r\n", "r").of(("topics", 0, "name")) == "r:3 topics[0].name"


def test_list_of_tables_has_the_line_of_its_first() -> None:
    assert TomlPositions(TEXT, "relay.toml").of(("topics",)) == "relay.toml:4 topics"


def test_dotted_key_has_a_line() -> None:
    assert TomlPositions("x = 1\nretry.first = 5\n", "relay.toml").of(("retry",)) == "relay.toml:2 retry"


def test_positions_are_in_file_order() -> None:
    places = ["relay.toml:10 b", "relay.toml:9 z", "relay.toml a", "relay.toml:9 a", "relay.toml:100 a"]
    assert sorted(places, key=TomlPositions.order) == [
        *("relay.toml a", "relay.toml:9 a", "relay.toml:9 z", "relay.toml:10 b", "relay.toml:100 a"),
    ]


@quick
@given(st.text(alphabet='[]"=.\n\r abc#') | st.text(), st.lists(st.text() | st.integers(0, 3), min_size=1, max_size=4))
def test_any_text_and_path_are_accepted(text: str, path: list[str | int]) -> None:
    assert TomlPositions(text, "relay.toml").of(path).startswith("relay.toml")
