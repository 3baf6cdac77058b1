from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.process.telemetry.context import Stage, parse_traceparent, span_id_of, trace_id_of, traceparent_of
from relay.process.telemetry.spans import Sampling

LINQ = "6b1f0c9d2a7e4583b0d4e1f29a8c7d35"


@pytest.mark.parametrize("given", [LINQ, LINQ.upper(), "6b1f0c9d-2a7e-4583-b0d4-e1f29a8c7d35"])
def test_trace_id_of_linq_is_continued(given: str) -> None:
    assert trace_id_of(given, "e1") == LINQ


@pytest.mark.parametrize("given", ["0" * 32, "6b1f", "", "trace 1", "\U0001f600"])
def test_other_trace_id_of_linq_is_mapped_to_the_same_one_again(given: str) -> None:
    mapped = trace_id_of(given, "e1")
    assert mapped == trace_id_of(given, "e2")
    assert len(mapped) == 32
    assert int(mapped, 16)


def test_ids_are_those_that_the_documentation_gives() -> None:
    # printf event:e1 | sha256sum; printf "trace:trace 1" | sha256sum; printf route:e1 | sha256sum
    assert trace_id_of(None, "e1") == "974625ac45a962362def88ded460a886"
    assert trace_id_of("trace 1", "e1") == "af0fe6b0fea2b60340b851592c287470"
    assert trace_id_of("\ud800", "e1") == trace_id_of(None, "e1")  # cannot be stored
    assert f"{span_id_of(Stage.ROUTE, 'e1'):016x}" == "66cd1fc6018b529d"


@given(st.text(), st.sampled_from(Stage), st.booleans())
def test_traceparent_is_read_as_it_was_written(event_id: str, stage: Stage, sampled: bool) -> None:  # noqa: FBT001  hypothesis calls it so
    trace_id, span_id = trace_id_of(None, event_id), span_id_of(stage, event_id)
    assert parse_traceparent(traceparent_of(trace_id, span_id, sampled=sampled)) == (trace_id, span_id, int(sampled))


@pytest.mark.parametrize(
    "header",
    [
        *("", "00", f"00-{LINQ}-00f067aa0ba902b7", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{LINQ}-{'0' * 16}-01"),
        *(f"ff-{LINQ}-00f067aa0ba902b7-01", f"00-{LINQ.upper()}-00f067aa0ba902b7-01"),
    ],
)
def test_invalid_traceparent_is_ignored(header: str) -> None:
    assert parse_traceparent(header) is None


def test_sampling_takes_its_part_of_uuids_too() -> None:
    # Version 4: the first two bits of the second half are 10, which OpenTelemetry's sampler would compare.
    ids = [f"{n * 7919:012x}4{n % 4096:03x}{8 + n % 4:x}{n * 104729:015x}" for n in range(4000)]
    assert 0.07 < sum(map(Sampling(0.1).takes, ids)) / len(ids) < 0.13
    assert [sum(map(Sampling(ratio).takes, ids)) for ratio in (0.0, 1.0)] == [0, 4000]
