"""The variables of OpenTelemetry and Sentry that the relay documents and shows in its log.

`relay.process.telemetry` reads and checks them, and OpenTelemetry's SDK reads further ones.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr


class TelemetrySettings(BaseModel):
    """Variables with the names that OpenTelemetry and Sentry have given them."""

    model_config = ConfigDict(defer_build=True)

    otel_exporter_otlp_endpoint: str | None = None
    """URL of a collector that takes OTLP over HTTP, such as `http://collector:4318`; turns traces on. The extra `otel`
    must be installed. Headers, timeouts and certificates have OpenTelemetry's own variables.
    """
    otel_exporter_otlp_traces_endpoint: str | None = None
    """The same with its whole path, such as `http://collector:4318/v1/traces`; it takes precedence."""
    otel_traces_sampler: str | None = None
    """Traces that are recorded: `parentbased_always_on` (the default), `always_off`, `traceidratio` and so on."""
    otel_traces_sampler_arg: str | None = None
    """Part of the traces that `traceidratio` and `parentbased_traceidratio` record, from 0 to 1, such as `0.01`."""
    otel_service_name: str | None = None
    """Name of the service in traces; without it, `linq-relay`."""
    otel_resource_attributes: str | None = None
    """Attributes of every span, such as `deployment.environment.name=production,team=messaging`."""
    otel_sdk_disabled: str | None = None
    """`true` turns traces off in spite of an endpoint, for clusters that set one everywhere."""
    sentry_dsn: SecretStr | None = None
    """DSN of a Sentry project, or of a service that speaks its protocol; turns error reports on. The extra `sentry`
    must be installed.
    """
    sentry_environment: str | None = None
    """Environment in error reports; without it, `production`."""
    sentry_release: str | None = None
    """Release in error reports; without it, the version and revision of the relay."""
