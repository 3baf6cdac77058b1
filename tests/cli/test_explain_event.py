"""`relay explain`: events and their topics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.core.config.relay_toml import parse_config
from relay.core.errors import RelayError
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.metrics.worker_metrics import WorkerMetrics
from tests.cli.running import RULES, invoke, main_here
from workers.routing.facts import BodyFacts

SAMPLES = sorted((Path(__file__).parents[1] / "linq" / "payloads" / "samples").glob("*.json"))


def sample(name: str) -> Path:
    return next(path for path in SAMPLES if path.stem == name)


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_explained_as_the_router_routes_them(path: Path) -> None:
    said = invoke("explain", path, "--json")
    assert said.code == 0
    body = path.read_bytes()
    dialect = Dialect(json.loads(body)["api_version"])
    event = decode(dialect, body, None).event
    assert said.json["topics"] == list(
        parse_config(RULES).index.match(event, body, BodyFacts(WorkerMetrics.unscraped()))
    )
    assert {*said.json["topics"], *said.json["not"]} == {"support", "everything"}
    shown = said.json["event"]
    assert (shown["id"], shown["type"], shown["version"], shown["line"]) == (
        event.id,
        event.type,
        event.version,
        event.line,
    )


@pytest.mark.usefixtures("rules")
def test_fields_of_an_event_are_shown() -> None:
    assert invoke("explain", sample("v3-message.received"), "--json").json["event"] == {
        "id": "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71",
        "type": "message.received",
        "version": "2026-02-03",
        "line": "+16465550123",
        "chat": "5d1c7e0a-3b52-4c8e-9a41-0f6b7d2e8c11",
        "message": "b3f2a8d1-77c4-4e19-a5d0-2c6e9f1b4a83",
        "direction": "inbound",
        "service": "iMessage",
        "is_group": False,
        "freshness": "live",
        "created_at": "2026-09-14T09:15:02.417203911Z",
    }


@pytest.mark.usefixtures("rules")
def test_line_of_the_url_is_used_without_one_in_the_payload() -> None:
    without = invoke("explain", sample("v3-reaction.added"), "--json").json
    assert without["event"]["line"] is None
    assert without["topics"] == ["everything"]
    (why_not,) = without["not"]["support"]
    assert "+16465550123" in why_not
    through = invoke("explain", sample("v3-reaction.added"), "--line", "+16465550123", "--json").json
    assert through["event"]["line"] == "+16465550123"
    assert through["topics"] == ["support", "everything"]


@pytest.mark.usefixtures("rules")
def test_every_reason_against_a_topic_is_shown() -> None:
    said = invoke("explain", sample("v3-message.sent"), "--line", "+16465550124", "--json")
    type_wrong, line_wrong = said.json["not"]["support"]
    assert type_wrong == "type message.sent matches none of message.received, reaction.*"
    assert line_wrong == "line +16465550124 is not one of +16465550123"


@pytest.mark.usefixtures("rules")
def test_people_get_a_table() -> None:
    said = invoke("explain", sample("v3-message.failed"))
    assert said.code == 0
    for text in ("message.failed", "support", "everything", "yes", "matches none of message.received, reaction.*"):
        assert text in said.out


@pytest.mark.usefixtures("rules")
def test_body_is_read_from_standard_input() -> None:
    said = invoke("explain", "-", "--json", input=sample("v3-chat.created").read_bytes())
    assert said.json["event"]["type"] == "chat.created"


@pytest.mark.usefixtures("rules")
def test_unknown_event_type_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    path.write_text(json.dumps({"api_version": "v3", "event_id": "e-1", "event_type": "brand.new", "data": {"x": 1}}))
    assert invoke("explain", path, "--json").json["topics"] == ["everything"]


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"not JSON", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "JSON objects"),
        (b'{"event_type": "message.sent"}', "event_id"),
        (b'{"event_id": "e-1", "event_type": "two words"}', "event_type"),
    ],
)
async def test_invalid_event_is_no_traceback(content: bytes | None, says: str) -> None:
    if content is not None:
        Path("event.json").write_bytes(content)
    said = await main_here("explain", "event.json")
    assert said.code == 1
    assert said.is_one_message_without_traceback()
    assert says in said.err


@pytest.mark.usefixtures("rules")
def test_invalid_file_is_named() -> None:
    Path("event.json").write_bytes(b"{")
    with pytest.raises(RelayError, match=r"^event\.json: not JSON"):
        invoke("explain", "event.json")


@pytest.mark.usefixtures("rules")
def test_file_that_is_not_an_event_is_named() -> None:
    Path("event.json").write_bytes(b"{}")
    with pytest.raises(RelayError, match=r"event\.json"):
        invoke("explain", "event.json")


@pytest.mark.usefixtures("rules")
def test_invalid_line_is_exit_code_2() -> None:
    said = invoke("explain", sample("v3-message.sent"), "--line", "16465550123")
    assert said.code == 2
    assert "E.164" in said.err


async def test_explain_needs_a_config() -> None:
    said: Any = await main_here("explain", sample("v3-message.sent"))
    assert said.code == 2
    assert "no such file" in said.err
