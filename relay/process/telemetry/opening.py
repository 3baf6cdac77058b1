"""Telemetry of a process: opened before its main coroutine starts, and closed after it has ended."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relay.core.errors import Problem, RelayError, SettingsError
from relay.core.lazy_modules import LazyModule
from relay.process.build import VERSION, revision
from relay.process.telemetry.scrubbing import Scrubber
from relay.process.telemetry.variables import ENDPOINT, TRACES_ENDPOINT, trace_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.process.telemetry import otlp, sentry
    from relay.process.telemetry.spans import Tracer
else:  # optional, and 0.2 and 0.1 s of CPU
    otlp = LazyModule("relay.process.telemetry.otlp")
    sentry = LazyModule("relay.process.telemetry.sentry")

_PREFIX = "OTEL_"
_DSN = "SENTRY_DSN"
_SHORT = 12  # digits of a revision


@contextmanager
def telemetry(variables: Mapping[str, str], role: str) -> Iterator[Tracer | None]:
    """Send the errors of this process, and yield its tracer; see `error_reports` and `traces`."""
    with error_reports(variables, role), traces(variables, role) as tracer:
        yield tracer


@contextmanager
def traces(variables: Mapping[str, str], role: str) -> Iterator[Tracer | None]:
    """Yield the tracer of this process if `variables`, those of the environment and `.env`, ask for one, else None.

    Raises:
        SettingsError: they ask for what is not supported, or what traces need is not installed.
    """
    options = trace_options(variables)
    if options is None:
        yield None
        return
    for name, value in variables.items():
        if name.startswith(_PREFIX):
            os.environ.setdefault(name, value)  # the SDK reads the environment only
    try:
        make_tracer = otlp.OtlpTracer
    except ImportError as error:
        raise _missing(TRACES_ENDPOINT if variables.get(TRACES_ENDPOINT) else ENDPOINT, "otel", error) from None
    tracer = make_tracer(role, options.ratio, options.endpoint)
    try:
        yield tracer
    finally:
        tracer.close()


@contextmanager
def error_reports(variables: Mapping[str, str], role: str) -> Iterator[None]:
    """Send the errors that this process logs to SENTRY_DSN if `variables` have it; call it after `configure_logging`.

    Raises:
        SettingsError: the DSN is not valid, or the SDK is not installed.
    """
    dsn = variables.get(_DSN)
    if not dsn:
        yield
        return
    try:
        make_reports = sentry.SentryReports
    except ImportError as error:
        raise _missing(_DSN, "sentry", error) from None
    release = variables.get("SENTRY_RELEASE") or f"linq-relay@{VERSION}+{revision()[:_SHORT]}"
    try:
        reports = make_reports(dsn, variables.get("SENTRY_ENVIRONMENT"), release, role, Scrubber(variables))
    except ValueError as error:
        raise SettingsError("Errors cannot be sent:", (Problem(_DSN, str(error)),)) from None
    reports.open()
    try:
        yield
    except RelayError:
        raise  # a mistake of the operator, who reads it
    except Exception as error:
        reports.send("process.failed", error)
        raise
    finally:
        reports.close()


def _missing(variable: str, extra: str, error: ImportError) -> SettingsError:
    """Return the error for an optional extra that is not installed, though `variable` asks for it."""
    message = (
        f"it needs the optional extra {extra}, which is not installed ({error}); "
        f"run: pip install 'linq-relay[{extra}]', or unset the variable"
    )
    return SettingsError("The environment asks for what is not installed:", (Problem(variable, message),))
