"""Settings and strategies that property tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

quick = settings(
    max_examples=50,
    deadline=None,  # a busy machine is not a bug
    derandomize=True,  # the same examples every time, so a failure comes from a change
    suppress_health_check=[HealthCheck.too_slow],
)

any_text = st.text(st.characters())
"""Text of any characters, lone surrogates too, as a header can hold after its bytes were decoded."""

visible_ascii = st.characters(min_codepoint=0x21, max_codepoint=0x7E)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)

lines = st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True)
