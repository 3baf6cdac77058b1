"""`relay ingress`: one ingress process."""

from __future__ import annotations

from relay.config.load import load_settings
from relay.config.settings import environment_with_secrets
from relay.process.event_loop import run
from relay.process.logs import configure_logging
from relay.process.telemetry.opening import telemetry
from relay.web.server import serve_ingress


def run_role(*, share_port: bool = False) -> int:
    """Run an ingress process until a signal stops it; return the exit code."""
    settings = load_settings("relay_secret_key")
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    with telemetry(environment_with_secrets(), "ingress") as tracer:
        run(serve_ingress(settings, share_port=share_port, tracer=tracer))
    return 0
