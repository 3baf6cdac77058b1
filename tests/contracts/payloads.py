"""Every payload that there is: of the sandbox, of the SDK's models, and of Linq's documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.event import Dialect
from relay.sandbox.payloads import NEW, OLD, Scenario, data_of, envelope, known_types
from relay.sandbox.payloads.v2 import v2_body, v2_types
from relay.sandbox.payloads.versions import exists_in
from tests import linq
from tests.linq.sdk_payloads import EVENT_TYPES, SCENES, instance_of
from tests.sandbox.running import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"


class Payload(NamedTuple):
    """A webhook of Linq's."""

    dialect: Dialect
    type: str
    version: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@cache
def every_payload() -> tuple[Payload, ...]:
    """Return all of them."""
    return (*_of_the_sandbox(), *_of_the_sdk(), *_of_the_documentation())


def _of_the_sandbox() -> Iterator[Payload]:
    one = Scenario(line=LINE)
    group = replace(one, others=("ann@example.com", "+13035550177"), is_group=True, ours=True, service="SMS")
    for scenario in (one, group, replace(one, text="love"), replace(one, text="call +1 303 555 0188 or ann@home.org")):
        for event_type in known_types():
            for version in (NEW, OLD):
                if exists_in(event_type, version):
                    data = data_of(event_type, scenario, version)
                    body = envelope(event_type, EVENT_ID, data, version, scenario.occurred_at)
                    yield Payload(Dialect.V3, event_type, version, body)
        for event_type in v2_types():
            yield Payload(Dialect.V2, event_type, "v2", v2_body(event_type, scenario, EVENT_ID, scenario.occurred_at))


def _of_the_sdk() -> Iterator[Payload]:
    for event_type in EVENT_TYPES:
        for scene in SCENES:
            model = instance_of(event_type, scene).model_dump(mode="json", by_alias=True, exclude_unset=True)
            body = json.dumps({**model, "webhook_version": NEW, "api_version": "v3"}).encode()
            yield Payload(Dialect.V3, event_type, NEW, body)


def _of_the_documentation() -> Iterator[Payload]:
    for path in sorted((Path(linq.__file__).parent / "payloads" / "samples").glob("*.json")):
        sample = json.loads(path.read_bytes())
        is_v2 = sample["api_version"] == "v2"
        version = "v2" if is_v2 else sample.get("webhook_version") or OLD
        yield Payload(Dialect.V2 if is_v2 else Dialect.V3, sample["event_type"], version, path.read_bytes())
