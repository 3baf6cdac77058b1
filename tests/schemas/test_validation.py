"""What the relay sends and stores is valid against the committed schemas, and nothing else is."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from relay.core.config.endpoint import Endpoint
from relay.core.event import Dialect
from relay.linq.payloads.decode import decode
from relay.sandbox.payloads import NEW, OLD
from relay.store.lanes.delivery import Delivery, Ref
from relay.store.topics.pull.group import Limits, PullGroup, consumer_of
from relay.store.topics.push_headers import in_shape
from relay.store.topics.record import fields_of, record_of
from relay.web.api.resources.pull import PulledEvent
from relay.web.api.resources.topic_event import event_of
from relay.web.api.schemas.fields import _texts
from tests.building import SECRET
from tests.docs.pages import page
from tests.schemas.samples import Sample, samples
from tests.schemas.tools import SCHEMAS
from tests.support import KEYS
from tests.workers.transport.test_sender import subscription
from workers.transport.request_template import KindLines, RequestTemplate

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

ALL = list(samples())


@cache
def validator(path: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / path).read_bytes()))


def problems(path: str, instance: Any) -> list[str]:
    return [f"{path}: {error.json_path}: {error.message}" for error in validator(path).iter_errors(instance)]


def entry_of(sample: Sample) -> dict[bytes, bytes]:
    """Return the fields of the entry of a sample, as Redis gives them."""
    body = json.dumps(sample.body).encode()
    event = decode(Dialect.V2 if sample.version == "v2" else Dialect.V3, body, None).event
    flat = [
        each if isinstance(each, bytes) else str(each).encode() for each in fields_of(event, 1, "w", body, b"none 1 -")
    ]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def texts(entry: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in entry.items()}


def test_every_body_is_valid_and_no_version_passes_for_another() -> None:
    assert [each for sample in ALL for each in problems(sample.path, sample.body)] == []
    seen = {(sample.version, sample.type) for sample in ALL}
    assert seen == {(path.parent.name, path.stem) for path in (SCHEMAS / "events").glob("*/*.json")}
    of_type = {sample.version: sample for sample in ALL if sample.type == "message.received"}
    for version, sample in of_type.items():
        for other in {NEW, OLD, "v2"} - {version}:
            assert problems(f"events/{other}/message.received.json", sample.body)


@pytest.mark.parametrize(
    ("version", "event_type", "change"),
    [
        (NEW, "message.received", {"chat": {}}),
        (NEW, "message.received", {"parts": [{"type": "hologram"}]}),
        (OLD, "message.read", {"message": None}),
        ("v2", "call.completed", {"duration": "long"}),
    ],
)
def test_payload_with_another_form_is_not_valid(version: str, event_type: str, change: dict[str, Any]) -> None:
    sample = next(each for each in ALL if (each.version, each.type) == (version, event_type))
    assert problems(sample.path, sample.body | {"data": sample.body["data"] | change})


def test_check_of_the_page_logs_what_is_not_valid(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(SCHEMAS.parents[1])
    [code] = page("schemas.md").blocks("python")
    names: dict[str, Any] = {}
    exec(compile(code, "schemas.md", "exec", dont_inherit=True), names)  # noqa: S102  our own page
    for sample in ALL:
        names["note_changes"](*sample[:2], json.dumps(sample.body))
    assert caplog.messages == []
    names["note_changes"](NEW, "message.read", b'{"data": {}}')
    names["note_changes"](NEW, "message.unread", b"{}")
    assert f"{NEW} message.read: 'chat' is a required property" in caplog.messages
    assert caplog.messages[-1] == f"{NEW} message.unread: a type or a version without a schema"


def test_new_fields_of_linq_are_valid() -> None:
    sample = next(each for each in ALL if each.type == "message.received")
    assert not problems(sample.path, sample.body | {"new": 1, "data": sample.body["data"] | {"new": [{}]}})


def test_entries_and_pulled_events_are_valid() -> None:
    entries = [entry_of(sample) for sample in ALL]
    assert [each for entry in entries for each in problems("stream-entry.json", texts(entry))] == []
    pulled = [
        PulledEvent(**event_of(record_of(b"1-0", entry)).model_dump(), receipt="r", deliveries=1).model_dump(
            mode="json"
        )
        for entry in entries
    ]
    assert [each for event in pulled for each in problems("pulled-event.json", event)] == []


async def test_dead_letter_of_a_group_is_valid(redis: Redis) -> None:
    entry = entry_of(ALL[0])
    assert len(problems("dead-letter.json", texts(entry))) == 6  # dead_*
    await redis.xadd(KEYS.topic("support"), entry)  # type: ignore[arg-type]
    group = PullGroup(redis, "support", "crm")
    page = await group.receive(consumer_of("alice", 1), Limits(100), start="0")
    await group.reject([event.receipt for event in page.events], "no such customer")
    [(_, letter)] = await redis.xrange(KEYS.group_dead("support", "crm"))
    assert problems("dead-letter.json", texts(letter)) == []
    required = json.loads((SCHEMAS / "dead-letter.json").read_bytes())["required"]
    assert set(texts(letter)) - set(texts(entry)) == {name for name in required if name.startswith("dead_")}


def test_headers_of_a_push_are_valid_and_described() -> None:
    described = set(validator("push-headers.json").schema["properties"])  # type: ignore[index]
    seen: set[str] = set()
    shadow = subscription("http://x/").model_copy(update={"shadow_of": "bot"})
    template = RequestTemplate(shadow, Endpoint((SECRET,)), KindLines())
    ways: list[dict[bytes, bytes]] = [{}, {b"dead_topic": b"support"}, {b"dead_topic": b"support", b"dead_test": b"1"}]
    for sample in ALL:
        fields = entry_of(sample) | {b"freshness": b"history", b"account": b"sales", b"source": b"backfill"}
        for more in ways:
            stream = "relay:lane:bot:replay" if more else "relay:topic:support"
            made = Delivery(Ref(stream, "5-0"), fields | more)
            for shaped in (None, *(in_shape(made.record, shape) for shape in (NEW, OLD))):
                head, _, _ = template.request(made, 1, 5, "00-1-2-01", shaped).partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
                assert not problems("push-headers.json", headers)
                seen |= set(headers)
    assert seen - {"Host", "Content-Length"} == described


def test_name_without_a_description_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"fields\.py.*\['new'\]"):
        _texts({"id": {}}, ["id", "new"], ["id"])
    with pytest.raises(LookupError, match=r"\['gone'\]"):
        _texts({"id": {}, "gone": {}}, ["id"], ["id"])
