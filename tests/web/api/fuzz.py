"""`python -m tests.web.api.fuzz --requests 100000`: a long run of the fuzzing, which also watches the memory.

Exit code 1, with the request that failed, if an answer is a 5xx, undocumented, or shows what is another team's; or if
the memory of the process grows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from relay.process.embedded_redis import embedded_redis
from relay.web.api.operations import OPERATIONS
from tests.web.api.fuzzing import fuzz, serving

_ROUND = 40  # requests to an operation, before the world is made anew
_WARM_UP = 2  # rounds after which the memory is compared
_MAX_GROWTH = 1.10


def main() -> int:
    """Run until so many requests were sent; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    wanted = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        (Path(directory) / "redis").mkdir()
        context = embedded_redis(Path(directory) / "redis")
        embedded = runner.run(context.__aenter__())
        try:
            return _run(embedded.url, Path(directory), wanted)
        finally:
            runner.run(context.__aexit__(None, None, None))


def _run(redis_url: str, directory: Path, wanted: int) -> int:
    memory: list[int] = []
    began = time.monotonic()
    with serving(redis_url, directory) as target:
        while (sent := sum(target.statuses.values())) < wanted:
            fuzz(target, min(_ROUND, max(wanted // len(OPERATIONS), 1)), seed=len(memory))
            target.seed()
            memory.append(target.memory())
            seconds = time.monotonic() - began
            print(  # noqa: T201  a report
                f"{sent:>7} requests, {memory[-1] / 2**20:.1f} MiB, {seconds:.0f} s, {target.statuses}", flush=True
            )
    baseline = memory[min(_WARM_UP, len(memory) - 1)]
    if memory[-1] > baseline * _MAX_GROWTH:
        print(  # noqa: T201  a report
            f"the memory grew from {baseline / 2**20:.1f} to {memory[-1] / 2**20:.1f} MiB", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
