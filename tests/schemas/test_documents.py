"""The committed schemas: equal to what the code makes, and complete."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.payloads import NEW, OLD, exists_in, known_types
from tests.cli.running import invoke
from tests.docs.pages import ROOT
from tests.schemas.tools import SCHEMAS
from tests.web.api.test_framework import boxes

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.support import Clock

INDEX = json.loads((SCHEMAS / "index.json").read_bytes())
ASYNCAPI = json.loads((SCHEMAS / "asyncapi.json").read_bytes())


@pytest.mark.background  # with the next two: generating takes seconds, once a process
def test_committed_schemas_equal_the_output_of_relay_schemas() -> None:
    done = invoke("schemas", str(SCHEMAS), "--check")
    assert done.code == 0, done.err


@pytest.mark.background
def test_relay_schemas_writes_what_is_missing_and_deletes_the_rest(tmp_path: Path) -> None:
    gone = tmp_path / "events" / NEW / "message.forgotten.json"
    gone.parent.mkdir(parents=True)
    gone.touch()
    checked = invoke("schemas", str(tmp_path), "--check")
    assert checked.code == 1
    assert f"{gone} belongs to no event type any more" in checked.err
    assert f"{tmp_path}/asyncapi.json is out of date; run: relay schemas {tmp_path}" in checked.err
    assert invoke("schemas", str(tmp_path)).code == 0
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.json")}
    committed = {path.relative_to(SCHEMAS) for path in SCHEMAS.rglob("*.json")}
    assert written == {path for path in committed if path.parts[0] != "typescript"}
    assert invoke("schemas", str(tmp_path), "--check").code == 0


@pytest.mark.background
async def test_api_serves_the_asyncapi_document_without_a_token(redis: Redis, clock: Clock) -> None:
    async with boxes(redis, clock) as send:
        answers = await asyncio.gather(*(send("GET", "/asyncapi.json", None) for _ in range(3)))
    assert [await answer.json() for answer in answers] == [ASYNCAPI] * 3


def test_every_type_of_every_version_has_a_schema() -> None:
    assert {version: set(events) for version, events in INDEX["events"].items()} == {
        NEW: set(known_types()),
        OLD: {event_type for event_type in known_types() if exists_in(event_type, OLD)},
        "v2": set(V2_TYPES),
    }
    listed = {event["path"] for events in INDEX["events"].values() for event in events.values()}
    assert listed == {path.relative_to(SCHEMAS).as_posix() for path in (SCHEMAS / "events").glob("*/*.json")}


def test_schemas_name_their_source_and_the_locked_sdk() -> None:
    locked = re.search(r"^linq-python==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert INDEX["sdk"] == f"linq-python {locked[1]}"
    by_source: dict[str, set[str]] = {}
    for version, events in INDEX["events"].items():
        for event_type, event in events.items():
            by_source.setdefault(event["source"], set()).add(f"{version} {event_type}")
            assert INDEX["sdk"] in json.loads((SCHEMAS / event["path"]).read_bytes())["description"]
    calls = {f"{version} {each}" for version in (NEW, OLD) for each in known_types() if each.startswith("call.")}
    assert by_source["envelope"] == calls | {"v2 participant.added", "v2 participant.removed"}
    old = {f"{OLD} message.{what}" for what in ("sent", "received", "delivered", "read")}
    assert by_source["documents"] == old | {f"v2 {each}" for each in V2_TYPES if "participant" not in each}


def test_asyncapi_document_has_every_event_on_each_channel() -> None:
    events = {f"{version}.{each}" for version, of_version in INDEX["events"].items() for each in of_version}
    channels = ASYNCAPI["channels"]
    assert set(channels["push"]["messages"]) == set(channels["stream"]["messages"]) == events
    assert channels["stream"]["address"] == "relay:topic:{topic}"
    assert channels["deadLetters"]["address"] == "relay:dead:{topic}:{group}"
    referred = set(re.findall(r'"#/components/(\w+)/([^"]+)"', json.dumps(ASYNCAPI)))
    assert referred == {(kind, name) for kind in ASYNCAPI["components"] for name in ASYNCAPI["components"][kind]}


def test_asyncapi_document_names_operations_of_the_openapi_document() -> None:
    openapi = json.loads((ROOT / "deploy" / "docs" / "openapi.json").read_bytes())
    operations = {operation["operationId"] for path in openapi["paths"].values() for operation in path.values()}
    pull: dict[str, Any] = ASYNCAPI["channels"]["pull"]
    named = set(re.findall(r"`(\w+_\w+)`", pull["description"]))
    assert {"receive_events", "acknowledge_events", "reject_events"} <= named
    assert named <= operations
    assert pull["address"] in openapi["paths"]
