"""Benchmark: the relay beside the floor of its stack and beside the service that most teams would write (`diy`).

    python -m tests.bench [PART ...] [--short] [--rounds N] [--relay-only] [--json] [--markdown] [--charts DIR]
    python -m tests.bench [PART ...] --compare FILE       beside the output of --json of an earlier run
    python -m tests.bench [PART ...] --against REVISION   beside another revision, measured in turns
    python -m tests.bench --from FILE ...                 results of earlier runs, instead of measuring

Each part measures one thing, in interleaved rounds, on a Redis of its own; every run of the relay ends with a check of
the ledger: nothing may be lost. Only `shards` pins processes to cores. Without --short it takes some 20 minutes. The
exit code is 1 if a part failed, or if a row of a comparison is worse or missing.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from relay.process.event_loop import run
from tests.bench.against import NotMeasured, measure_in_turns, other_side, this_checkout
from tests.bench.charts import draw
from tests.bench.comparison import WIDTH, compare, read_results
from tests.bench.parts import PARTS
from tests.bench.processes import surroundings
from tests.bench.scale import FULL, SHORT
from tests.bench.sheet import RELAY, Sheet

if TYPE_CHECKING:
    from tests.bench.comparison import Comparison
from tests.bench.scale import Scale


def main(arguments: list[str] | None = None) -> int:
    """Measure or compare the parts that the command line names; return the exit code."""
    parser = _parser()
    options = _options(parser, arguments)
    try:
        former = read_results(options.compare) if options.compare else None
        earlier = [read_results(path) for path in options.results or ()]
        if not earlier:
            print(surroundings(), file=sys.stderr)  # noqa: T201  they belong to every number
        if options.against:
            return _show_comparison(_compared_in_turns(options), as_json=options.json)
    except (ValueError, NotMeasured) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    failures: list[str] = []
    sheet = _joined(earlier, options.parts) if earlier else _measured(options, failures, is_quiet=bool(former))
    if options.charts:
        draw(sheet, options.charts)
    if former is not None:
        parts = {row.part for row in sheet.rows}
        former.rows = [row for row in former.rows if row.part in parts]
        return _show_comparison(compare(former, sheet, failures=failures), as_json=options.json)
    if options.json or earlier:
        show(sheet, as_json=options.json, as_markdown=options.markdown)
    sys.stderr.writelines(f"{failure}\n" for failure in failures)
    return int(bool(failures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    add("--short", action="store_true", help="small sizes and one round: shows that it works, measures nothing")
    add("--rounds", type=int, metavar="N", help="number of measurements of each thing")
    add("--relay-only", action="store_true", help="leave out the floor and the DIY service")
    add("--json", action="store_true", help="print all samples as JSON")
    add("--markdown", action="store_true", help="print the table as Markdown")
    add("--charts", type=Path, metavar="DIR", help="draw an SVG of each part there")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--compare", type=Path, metavar="FILE", help="compare with the output of --json of an earlier run"
    )
    ways.add_argument("--against", metavar="REVISION", help="compare with another revision or checkout, in turns")
    add("--own-bench", action="store_true", help="--against a revision that this bench cannot run: by its own")
    results = "take the output of --json of an earlier run instead of measuring; several are joined, the last counts"
    add("--from", type=Path, action="append", metavar="FILE", dest="results", help=results)
    return parser


def _options(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    options = parser.parse_args(arguments)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.own_bench and not options.against:
        parser.error("--own-bench is for --against")
    if options.against and options.results:
        parser.error("--against measures, and --from does not: name one")
    return options


def _scale(options: argparse.Namespace) -> Scale:
    scale = SHORT if options.short else FULL
    scale = replace(scale, rounds=options.rounds) if options.rounds else scale
    return replace(scale, compared=(RELAY,)) if options.relay_only else scale


def _measured(options: argparse.Namespace, failures: list[str], *, is_quiet: bool) -> Sheet:
    """Measure part by part; one that fails has no rows, adds to `failures`, and does not cost those of the others."""
    scale, sheet = _scale(options), Sheet()
    for name in options.parts or PARTS:
        began = time.monotonic()
        part = Sheet()
        try:
            run(PARTS[name](scale, part))
        except Exception as error:  # noqa: BLE001  a part that fails is told at the end, too
            traceback.print_exc()
            failures.append(f"{name} failed: {error!r}")
            continue
        sheet.rows += part.rows
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)  # noqa: T201  it takes a while
        if not options.json and not is_quiet:
            show(part, as_json=False, as_markdown=options.markdown)
    return sheet


def _joined(earlier: list[Sheet], parts: list[str]) -> Sheet:
    """Return the rows of earlier runs, of `parts` if any are named; a later run replaces the rows of one before."""
    sheet = Sheet()
    for results in earlier:
        sheet.merge(Sheet([row for row in results.rows if not parts or row.part in parts]), instead=True)
    return sheet


def _compared_in_turns(options: argparse.Namespace) -> Comparison:
    scale = ("--short",) if options.short else ()
    with other_side(options.against, own_bench=options.own_bench) as other:
        sides = other, this_checkout()
        turns = measure_in_turns(sides, options.parts or list(PARTS), _scale(options).rounds, scale)
    return compare(turns.former, turns.latter, in_turns=True, failures=turns.failures)


def _show_comparison(comparison: Comparison, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([change.shown() for change in comparison.changes], indent=2))  # noqa: T201  the answer
    else:
        Console(width=WIDTH).print(comparison.table())
    for line in comparison.remarks():
        print(line, file=sys.stderr if as_json else sys.stdout)
    return int(comparison.is_worse)


def show(sheet: Sheet, *, as_json: bool, as_markdown: bool) -> None:
    """Write the sheet to standard output."""
    if as_json:
        print(json.dumps([row.shown() for row in sheet.rows], indent=2))  # noqa: T201  the answer
    elif as_markdown:
        print(sheet.markdown(), flush=True)  # noqa: T201  the answer
    else:
        Console(width=140).print(sheet.table())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # the processes of a part end with us
    sys.exit(main())
