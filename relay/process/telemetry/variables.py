"""OpenTelemetry's standard variables: they turn traces on, and say which part of them is recorded.

The SDK reads most of its variables itself (headers, timeouts, certificates, sizes of its queue). Those that it would
ignore in silence, because the relay does not support them, are checked here.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from relay.core.errors import Problem, SettingsError
from relay.core.net.masked_url import unreadable_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_SAMPLER, _RATIO = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"
_FIXED = {"always_on": 1.0, "parentbased_always_on": 1.0, "always_off": 0.0, "parentbased_always_off": 0.0}
_BY_RATIO = {"traceidratio", "parentbased_traceidratio"}


class TraceOptions(NamedTuple):
    """Traces as the variables ask for them."""

    endpoint: str
    ratio: float
    """Part of the traces that is recorded, from 0 to 1."""


def trace_options(variables: Mapping[str, str]) -> TraceOptions | None:
    """Return the traces that `variables` ask for; None if traces are off.

    Raises:
        SettingsError: they ask for what the relay does not support; names each of them.
    """
    name = TRACES_ENDPOINT if variables.get(TRACES_ENDPOINT) else ENDPOINT
    endpoint = variables.get(name, "")
    is_disabled = variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not endpoint or is_disabled or variables.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if problems := tuple(_problems(variables, name)):
        raise SettingsError("Traces cannot be sent as the environment asks:", problems)
    sampler = _sampler(variables)
    return TraceOptions(endpoint, _FIXED[sampler] if sampler in _FIXED else float(variables.get(_RATIO) or 1))


def _sampler(variables: Mapping[str, str]) -> str:
    return variables.get(_SAMPLER, "").strip().lower() or "parentbased_always_on"


def _problems(variables: Mapping[str, str], endpoint: str) -> Iterator[Problem]:
    if not _is_url(variables[endpoint]):
        yield Problem(endpoint, unreadable_url(variables[endpoint], "a URL such as http://collector:4318"))
    if (exporter := variables.get("OTEL_TRACES_EXPORTER") or "otlp") != "otlp":
        yield Problem("OTEL_TRACES_EXPORTER", f'"{exporter}" is not supported; use otlp, or none to send no traces')
    for name in _PROTOCOLS:
        if (protocol := variables.get(name)) and protocol != _HTTP:
            yield Problem(name, f'"{protocol}" is not supported; use {_HTTP}, which collectors take on port 4318')
            break
    sampler, ratio = _sampler(variables), variables.get(_RATIO) or "1"
    if sampler not in _BY_RATIO | _FIXED.keys():
        known = ", ".join(sorted(_BY_RATIO | _FIXED.keys()))
        yield Problem(_SAMPLER, f'"{sampler}" is not a sampler; use one of {known}')
    if sampler in _BY_RATIO and not _is_ratio(ratio):
        yield Problem(_RATIO, f'"{ratio}" is not a number from 0 to 1, such as 0.01')


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0 and url.username is None
    except ValueError:
        return False


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
