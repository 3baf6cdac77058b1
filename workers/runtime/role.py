"""`relay worker`: one worker process."""

from __future__ import annotations

from relay.config.load import load_settings
from relay.config.settings import environment_with_secrets
from relay.process.event_loop import run
from relay.process.logs import configure_logging
from relay.process.resources.precedence import give_way
from relay.process.telemetry.opening import telemetry
from relay.process.timings import load_timings
from workers.runtime.runner import run_worker


def run_role() -> int:
    """Run a worker process until a signal stops it; return the exit code."""
    settings = load_settings()
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    give_way(settings.relay_worker_nice)
    with telemetry(environment_with_secrets(), "worker") as tracer:
        run(run_worker(settings, load_timings(), tracer))
    return 0
