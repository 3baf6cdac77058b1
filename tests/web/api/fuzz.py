"""`python -m tests.web.api.fuzz --requests 100000`: a long run of the fuzzing, which also watches the memory.

schemathesis makes about eight requests a second. With `--raw` they are several hundred, made by `tests.web.api.raw`
from the same document and from the forms of the page, and sent over kept connections. In every other round only the
tokens of one team are used, and nothing of the other team's in Redis may change.

Exit code 1, with the request that failed, if an answer is a 5xx, undocumented, or shows what is another team's; or if
the memory of the process grows.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from relay.process.embedded_redis import embedded_redis
from relay.web.api.operations import OPERATIONS
from tests.web.api.fuzzing import fuzz, serving
from tests.web.api.raw.rounds import Rounds

_ROUND = 40  # requests to an operation, before the world is made anew
_WARM_UP = 2  # rounds after which the memory is compared
_MAX_GROWTH = 1.10
_RAW_ROUND = 5000  # requests
_LONG_ENOUGH = 50_000  # requests, in the second half of which the memory may grow by:
_MAX_RAW_GROWTH = 12.0  # MiB


def main() -> int:
    """Run until so many requests were sent; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--raw", action="store_true", help="many requests a second, without schemathesis")
    parser.add_argument("--seed", type=int, help="of a raw run; a random one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        (Path(directory) / "redis").mkdir()
        context = embedded_redis(Path(directory) / "redis")
        embedded = runner.run(context.__aenter__())
        try:
            if options.raw:
                seed = random.randrange(10**6) if options.seed is None else options.seed
                return _run_raw(embedded.url, Path(directory), options.requests, seed)
            return _run(embedded.url, Path(directory), options.requests)
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


def _run_raw(redis_url: str, directory: Path, wanted: int, seed: int) -> int:
    """Fuzz without schemathesis; the memory may not grow in the second half."""
    print(f"seed {seed}", flush=True)  # noqa: T201  a report
    with serving(redis_url, directory) as target:
        rounds = Rounds(target, seed)
        half = 0
        began = time.monotonic()
        while rounds.found.requests < wanted:
            rounds.one(min(_RAW_ROUND, max(wanted // 4, 1)))
            memory, sent = target.memory(), rounds.found.requests
            half = memory if sent <= wanted // 2 or not half else half
            seconds = time.monotonic() - began
            rate = f"{sent / seconds:.0f}/s, {memory / 2**20:.1f} MiB, {len(rounds.found.faults)} faults"
            print(f"{sent:>7} requests, {seconds:.0f} s, {rate}", flush=True)  # noqa: T201  a report
    found = rounds.found
    growth = (memory - half) / 2**20
    if wanted >= _LONG_ENOUGH and growth > _MAX_RAW_GROWTH:
        found.faults.append(f"the memory grew by {growth:.1f} MiB in the second half")
    print(f"statuses {dict(sorted(found.statuses.items()))}; {growth:+.1f} MiB in the second half")  # noqa: T201
    print(f"{len(found.operations)} of {len(OPERATIONS)} operations gave good answers")  # noqa: T201  a report
    print("\n".join(found.faults) or "no fault")  # noqa: T201  a report
    return bool(found.faults)


if __name__ == "__main__":
    raise SystemExit(main())
