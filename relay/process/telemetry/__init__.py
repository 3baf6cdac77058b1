"""Traces by OpenTelemetry and errors to Sentry: both optional, neither imported while it is off."""
