"""Errors of a command, as a line on standard error and an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from relay.cli.interrupts import INTERRUPTED
from relay.cli.terminal import fail, flush
from relay.core.errors import RelayError, ServiceError, SeveralProblems
from relay.core.lazy_modules import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.store.rights import explanation
else:
    explanation = LazyModule("relay.store.rights.explanation")


def reported(command: Callable[[], int]) -> int:
    """Run `command`, and print why it fails; return the exit code."""
    try:
        code = _call(command)
        return code if flush() else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        flush()
        return 1
    except OSError as error:
        fail(f"relay: {error}")
        return 1


def _call(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except RelayError as error:
        fail(error.for_cli if isinstance(error, ServiceError) else str(error))
        return 2 if isinstance(error, SeveralProblems) else 1
    except Exception as error:
        # An error of Redis can only be one if the command has imported redis.
        redis_errors = sys.modules.get("redis.exceptions")
        if redis_errors is None or not isinstance(error, redis_errors.RedisError):
            raise
        fail(f"Redis: {'; '.join(filter(None, explanation.explain(error)))}")
        return 1
