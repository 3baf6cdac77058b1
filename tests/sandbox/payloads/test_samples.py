"""Payloads of the sandbox, compared with the samples in Linq's documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.sandbox.payloads import NEW, OLD, Scenario, data_of, envelope
from relay.sandbox.payloads.v2 import v2_body
from tests import linq
from tests.sandbox.running import LINE

SAMPLES = sorted((Path(linq.__file__).parent / "payloads" / "samples").glob("*.json"))
EVENT_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"
SCENARIO = Scenario(line=LINE)


def build_like(sample: dict[str, Any]) -> Any:
    """Build the payload of the sandbox for the event type and version of `sample`."""
    event_type = sample["event_type"]
    if sample["api_version"] == "v2":
        return json.loads(v2_body(event_type, SCENARIO, EVENT_ID, SCENARIO.occurred_at))
    version = sample["webhook_version"]
    return json.loads(
        envelope(event_type, EVENT_ID, data_of(event_type, SCENARIO, version), version, SCENARIO.occurred_at)
    )


def differences(sample: Any, built: Any, path: str = "") -> list[str]:
    """Return the fields of `sample` that `built` lacks or has with another type; null matches any type."""
    if sample is None or built is None:
        return []
    if type(sample) is not type(built):
        return [f"{path}: {sample!r} and {built!r}"]
    if isinstance(sample, dict):
        missing = [f"{path}.{name} is missing" for name in sample if name not in built]
        common = [name for name in sample if name in built]
        return missing + [
            difference for name in common for difference in differences(sample[name], built[name], f"{path}.{name}")
        ]
    if isinstance(sample, list):
        pairs = zip(sample, built, strict=False)
        return [difference for pair in pairs for difference in differences(*pair, f"{path}[]")]
    return []


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_payload_has_every_field_of_linqs_sample(path: Path) -> None:
    sample = json.loads(path.read_bytes())
    assert differences(sample, build_like(sample)) == []


def test_samples_cover_every_api_and_version() -> None:
    samples = [json.loads(path.read_bytes()) for path in SAMPLES]
    assert {(sample["api_version"], sample.get("webhook_version")) for sample in samples} == {
        ("v3", NEW),
        ("v3", OLD),
        ("v2", None),
    }
