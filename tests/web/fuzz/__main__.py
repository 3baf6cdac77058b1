"""Fuzz the ingress: mutated requests over raw sockets to a real process.

    python -m tests.web.fuzz [--requests N] [--seed N]

It fails if a body that was not signed is in the inbox, if a request gets a 5xx other than the deliberate 503 or no
response and no end, or if the memory of the process grows in the second half of 160,000 requests or more. In the first
half it reaches what 96 large requests at once can take, and what waits for the cyclic garbage collector: at most some
10,000 containers (`relay.process.gc_tuning`), with which no body of a refused request may wait
(`tests.web.test_memory`). Of 200,000 requests, the second half added 0.9 MB to 93.9; of 100,000 it added 1.0 to 5.2,
the last of them after some 70,000. After each collection malloc had given out the same 14.2 MB. A leak of one large
body in a thousand requests would be 7 MB in 100,000.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import fields

from relay.process.event_loop import run
from relay.process.timings import Timings
from tests.bench.stage import new_stage
from tests.support import KEYS
from tests.web.fuzz.mutations import SIGNED
from tests.web.fuzz.run import Found, fuzz

_GROWTH = 5.0  # MB that the process may grow by in the second half of at least so many requests:
_LONG_ENOUGH = 160_000


def main() -> None:
    """Fuzz, and exit with 1 if a fault was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.web.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000, metavar="N", help="default: 2000")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first connection; each has its own")
    options = parser.parse_args()
    short = {"refusal_delay": 0.001} if "refusal_delay" in {field.name for field in fields(Timings)} else {}
    os.environ["RELAY_TEST_TIMINGS"] = json.dumps(short)
    faults: list[str] = []
    run(_run(options.requests, options.seed, faults))
    print("\n".join(faults[:20]) or "no fault")  # noqa: T201  the result
    sys.exit(bool(faults))


async def _run(count: int, seed: int, faults: list[str]) -> None:
    """Fuzz, print the numbers, and add what is wrong to `faults`."""
    async with new_stage() as stage, stage.ingress(log_level="error") as running:
        total, before = Found(faults=faults), running.rss()
        while total.requests < count:  # in parts: signatures are valid for five minutes
            size = min(10_000, (count + 1) // 2, count - total.requests)
            part = await fuzz(stage.port, size, seed + total.requests, time.time())
            total.requests += part.requests
            total.statuses += part.statuses
            total.codes += part.codes
            total.faults += part.faults
            print(f"{total.requests} requests: {running.rss():.1f} MB, 503: {dict(total.codes)}", flush=True)  # noqa: T201
            if total.requests - part.requests < count // 2 <= total.requests:
                before = running.rss()
        growth = running.rss() - before
        bodies = {fields[b"body"] for _, fields in await stage.redis.xrange(KEYS.inbox)}
    total.faults += [f"accepted, but not signed: {body[:300]!r}" for body in bodies - set(SIGNED)]
    if count >= _LONG_ENOUGH and growth > _GROWTH:
        total.faults.append(f"memory grew by {growth:.1f} MB")
    print(f"{total.requests} requests, statuses {dict(sorted(total.statuses.items()))}")  # noqa: T201  the result
    print(f"memory {before:.1f} MB, {growth:+.1f}; {len(bodies)} signed bodies accepted")  # noqa: T201


if __name__ == "__main__":
    main()
