"""Benchmark: the relay beside the floor of its stack and beside the service that most teams would write (`diy`).

    python -m tests.bench [PART ...] [--short] [--rounds N] [--json] [--markdown] [--charts DIR]

Each part measures one thing, in interleaved rounds, on a Redis of its own; every run of the relay ends with a check of
the ledger: nothing may be lost. Nothing is pinned to a core. Without --short it takes some 20 minutes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from relay.process.event_loop import run
from tests.bench.charts import draw
from tests.bench.parts import PARTS
from tests.bench.scale import FULL, SHORT
from tests.bench.sheet import Sheet


def main() -> None:
    """Measure the parts that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument(
        "--short", action="store_true", help="small sizes and one round: shows that it works, measures nothing"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="number of measurements of each thing")
    parser.add_argument("--json", action="store_true", help="print all samples as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="draw an SVG of each part there")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    scale = SHORT if options.short else FULL
    if options.rounds:
        scale = replace(scale, rounds=options.rounds)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # the processes of a part end with us
    sheet = Sheet()
    for name in options.parts or PARTS:
        began = time.monotonic()
        part = Sheet()
        run(PARTS[name](scale, part))
        sheet.rows += part.rows
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)  # noqa: T201  it takes a while
        if not options.json:
            show(part, as_json=False, as_markdown=options.markdown)
    if options.charts:
        draw(sheet, options.charts)
    if options.json:
        show(sheet, as_json=True, as_markdown=False)


def show(sheet: Sheet, *, as_json: bool, as_markdown: bool) -> None:
    """Write the sheet to standard output."""
    if as_json:
        print(json.dumps([row.shown() for row in sheet.rows], indent=2))  # noqa: T201  the answer
    elif as_markdown:
        print(sheet.markdown(), flush=True)  # noqa: T201  the answer
    else:
        Console(width=140).print(sheet.table())


if __name__ == "__main__":
    main()
