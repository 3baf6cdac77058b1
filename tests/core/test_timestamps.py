from __future__ import annotations

import pytest

from relay.core.timestamps import parse_time

NOW = 1_789_377_302.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", NOW - 7200),
        ("500ms", NOW - 0.5),
        ("2026-09-14T09:15:02Z", NOW),
        ("2026-09-14 11:15:02+02:00", NOW),
        (" 2026-09-14T09:15:02.5Z ", NOW + 0.5),
    ],
)
def test_time_is_an_age_or_a_date(text: str, seconds: float) -> None:
    assert parse_time(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "2 h", "2026-13-01", "17893773020"])
def test_invalid_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='write an age, such as "2h"'):
        parse_time(text, NOW)
