"""The payloads that the sandbox makes, held against a sample of every payload that Linq documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.sandbox.payloads import NEW, OLD, Scene, data_of, envelope
from relay.sandbox.payloads.v2 import v2_body
from tests import linq
from tests.sandbox.running import LINE

SAMPLES = sorted((Path(linq.__file__).parent / "payloads" / "samples").glob("*.json"))
EVENT_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"
SCENE = Scene(line=LINE)


def made_like(sample: dict[str, Any]) -> Any:
    """What the sandbox makes of the event that `sample` is of."""
    event_type = sample["event_type"]
    if sample["api_version"] == "v2":
        return json.loads(v2_body(event_type, SCENE, EVENT_ID, SCENE.moment))
    version = sample["webhook_version"]
    return json.loads(envelope(event_type, EVENT_ID, data_of(event_type, SCENE, version), version, SCENE.moment))


def differences(sample: Any, made: Any, place: str = "") -> list[str]:
    """Where `made` lacks a field of `sample` or has another type there; null can stand for anything."""
    if sample is None or made is None:
        return []
    if type(sample) is not type(made):
        return [f"{place}: {sample!r} and {made!r}"]
    if isinstance(sample, dict):
        missing = [f"{place}.{name} is missing" for name in sample if name not in made]
        common = [name for name in sample if name in made]
        return missing + [one for name in common for one in differences(sample[name], made[name], f"{place}.{name}")]
    if isinstance(sample, list):
        pairs = zip(sample, made, strict=False)
        return [one for pair in pairs for one in differences(*pair, f"{place}[]")]
    return []


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_payload_has_every_field_of_linqs_sample(path: Path) -> None:
    sample = json.loads(path.read_bytes())
    assert differences(sample, made_like(sample)) == []


def test_there_are_samples_of_every_dialect_and_version() -> None:
    samples = [json.loads(path.read_bytes()) for path in SAMPLES]
    assert {(one["api_version"], one.get("webhook_version")) for one in samples} == {
        ("v3", NEW),
        ("v3", OLD),
        ("v2", None),
    }
