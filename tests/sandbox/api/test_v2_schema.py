"""The sandbox's v2 API against a schema derived from Linq's reference, with calls that schemathesis makes up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.api.v2 import line_id_v2
from tests.properties import quick
from tests.sandbox.api.calling_v2 import TOKEN, subscribe
from tests.sandbox.running import API_KEY, LINE

if TYPE_CHECKING:
    from tests.sandbox.running import RunningSandbox

schemathesis.openapi.format(
    "public-https-url", st.from_regex(r"https://[a-z]{1,12}\.example\.com(/[a-z]{0,8}){0,3}", fullmatch=True)
)
SCHEMA = schemathesis.openapi.from_path(str(Path(__file__).with_name("v2_openapi.json")))
DONE = {
    "listSubscriptions": {200},
    "createSubscription": {201},
    "updateSubscription": {200},
    "deleteSubscription": {204, 404},
    "listPhoneNumbers": {200},
    "updatePhoneNumber": {200},
}
"""What every operation answers to calls that the schema allows."""

EXAMPLES = settings(quick, max_examples=15)


def statuses_of(operation: Any, url: str, mode: GenerationMode, path: dict[str, Any] | None) -> set[int]:
    """The statuses of made-up calls, each of which was what the schema says; `path` is what stands in it."""
    seen = set()

    @EXAMPLES
    @given(case=operation.as_strategy(mode, path_parameters=path))
    def every_call_is_answered_as_the_schema_says(case: Any) -> None:
        seen.add(case.call_and_validate(base_url=url, headers={TOKEN: API_KEY}).status_code)

    every_call_is_answered_as_the_schema_says()
    return seen


async def path_of(sandbox: RunningSandbox, operation: Any) -> dict[str, Any] | None:
    """What the path of an operation needs to be about something that is there."""
    if "{id}" not in operation.path:
        return None
    return {"id": line_id_v2(LINE) if "phone_numbers" in operation.path else (await subscribe(sandbox))["id"]}


@pytest.mark.parametrize(("name", "done"), DONE.items())
async def test_what_the_schema_allows_is_done(sandbox: RunningSandbox, name: str, done: set[int]) -> None:
    operation = SCHEMA.find_operation_by_id(name)
    path = await path_of(sandbox, operation)
    seen = await asyncio.to_thread(statuses_of, operation, sandbox.url, GenerationMode.POSITIVE, path)
    assert seen == done


@pytest.mark.parametrize("name", DONE)
async def test_what_the_schema_forbids_is_refused(sandbox: RunningSandbox, name: str) -> None:
    operation = SCHEMA.find_operation_by_id(name)
    path = await path_of(sandbox, operation) if operation.body else None
    seen = await asyncio.to_thread(statuses_of, operation, sandbox.url, GenerationMode.NEGATIVE, path)
    assert seen <= {400, 401, 404, 422}
    assert 401 in seen
    assert not operation.body or {400, 422} <= seen


def test_no_operation_is_left_out() -> None:
    assert SCHEMA.statistic.operations.total == len(DONE)


def test_the_schema_knows_every_event_type() -> None:
    assert tuple(SCHEMA.raw_schema["components"]["schemas"]["EventType"]["enum"]) == V2_TYPES
