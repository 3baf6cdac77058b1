"""Which variables turn traces and errors on, and what is refused at the start."""

from __future__ import annotations

import sys

import pytest

from relay.core.errors import SettingsError
from relay.process.telemetry.opening import telemetry
from relay.process.telemetry.variables import trace_options
from tests.cli.running import main_here

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("variables", "ratio"),
    [
        ({}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}, 0.01),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "x"}, 0.0),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, 1.0),
    ],
)
def test_endpoint_turns_traces_on(variables: dict[str, str], ratio: float) -> None:
    options = trace_options(ENDPOINT | variables)
    assert options is not None
    assert (options.endpoint, options.ratio) == ("http://127.0.0.1:4318", ratio)


@pytest.mark.parametrize(
    "variables",
    [
        *({}, {"OTEL_TRACES_SAMPLER": "x"}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}),
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_traces_are_off(variables: dict[str, str]) -> None:
    assert trace_options(variables) is None


def test_all_that_is_not_supported_is_named_at_once() -> None:
    wrong = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hunter2@collector:4318",
        "OTEL_TRACES_EXPORTER": "zipkin",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "1 %",
    }
    with pytest.raises(SettingsError) as caught:
        trace_options(wrong)
    assert {problem.place for problem in caught.value.problems} == wrong.keys() - {"OTEL_TRACES_SAMPLER"}
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError, match="OTEL_TRACES_SAMPLER"):
        trace_options(ENDPOINT | {"OTEL_TRACES_SAMPLER": "jaeger_remote"})


@pytest.mark.parametrize(
    ("module", "variables", "extra"),
    [
        ("opentelemetry.exporter.otlp.proto.http.trace_exporter", ENDPOINT, "linq-relay[otel]"),
        ("sentry_sdk", {"SENTRY_DSN": "http://key@127.0.0.1:1/7"}, "linq-relay[sentry]"),
    ],
)
async def test_missing_extra_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, module: str, variables: dict[str, str], extra: str
) -> None:
    for ours in ("otlp", "sentry"):
        monkeypatch.delitem(sys.modules, f"relay.process.telemetry.{ours}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)  # an import of it raises ImportError
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")  # restores what `traces` sets
    key = {"RELAY_SECRET_KEY": "4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8=", "REDIS_URL": "redis://127.0.0.1:1"}
    said = await main_here("ingress", **variables, **key)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert f"pip install '{extra}'" in said.err


def test_dsn_that_is_none_is_refused_without_repeating_it() -> None:
    with (
        pytest.raises(SettingsError, match="SENTRY_DSN: it is not a DSN") as caught,
        telemetry({"SENTRY_DSN": "hunter2"}, "worker"),
    ):
        pass
    assert "hunter2" not in str(caught.value)
