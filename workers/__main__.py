"""`python -m workers`: one worker process."""

from __future__ import annotations

import sys

from relay.config.load import load_settings
from relay.config.settings import environment_with_secrets
from relay.core.errors import SeveralProblems
from relay.process.event_loop import run
from relay.process.imports import lasting_imports
from relay.process.logs import configure_logging
from relay.process.telemetry.opening import telemetry
from relay.process.timings import load_timings


def main() -> int:
    """Run a worker. Returns the exit code: 2 if the environment or relay.toml is wrong."""
    try:
        settings = load_settings()
        configure_logging(settings.relay_log_level, settings.relay_log_format)
        with lasting_imports():
            from workers.runtime.precedence import give_way  # noqa: PLC0415  importing its package loads arq
            from workers.runtime.runner import run_worker  # noqa: PLC0415  nearly all that a worker needs
        give_way(settings.relay_worker_nice)
        with telemetry(environment_with_secrets(), "worker") as tracer:
            run(run_worker(settings, load_timings(), tracer))
    except SeveralProblems as error:
        print(error, file=sys.stderr)  # noqa: T201  before logs are configured
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
