"""Comparisons of the bench: better and worse by unit and by noise, missing rows, files, and another revision."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.bench import against
from tests.bench.__main__ import main
from tests.bench.comparison import WIDTH, Verdict, compare, read_results
from tests.bench.parts import PARTS
from tests.bench.processes import ROOT
from tests.bench.sheet import DIY, RELAY, Sheet

if TYPE_CHECKING:
    from pathlib import Path

STEADY = [1000.0, 1002.0, 998.0]


def sheet_of(unit: str, *values: float, what: str = "row") -> Sheet:
    sheet = Sheet()
    for value in values:
        sheet.add("accept", what, RELAY, value, unit)
    return sheet


@pytest.mark.parametrize(
    ("unit", "factor", "verdict"),
    [
        ("/s", 0.9, Verdict.WORSE),
        ("/s", 1.1, Verdict.BETTER),
        ("/s", 0.99, Verdict.SAME),
        ("ms", 0.9, Verdict.BETTER),
        ("MB", 1.1, Verdict.WORSE),
        ("bytes/event", 1.1, Verdict.WORSE),
        ("/event", 0.9, Verdict.BETTER),
    ],
)
def test_better_and_worse_follow_the_unit(unit: str, factor: float, verdict: Verdict) -> None:
    former, latter = sheet_of(unit, *STEADY), sheet_of(unit, *(value * factor for value in STEADY))
    (change,) = compare(former, latter).changes
    assert change.verdict is verdict
    assert (change.ratio > 1) == (verdict is Verdict.BETTER)


def test_a_difference_within_the_noise_is_not_worse() -> None:
    former, latter = sheet_of("/s", 1000, 700, 1300), sheet_of("/s", 900, 600, 1200)
    (change,) = compare(former, latter).changes
    assert (change.verdict, change.ratio) == (Verdict.UNSURE, 0.9)
    # Measured in turns, every round says the same: the noise of the machine was that of both.
    (change,) = compare(sheet_of("/s", 1000, 700, 1300), sheet_of("/s", 900, 630, 1171), in_turns=True).changes
    assert change.verdict is Verdict.WORSE


def test_a_row_measured_once_counts_as_noisy() -> None:
    verdicts = [compare(sheet_of("MB", 80), sheet_of("MB", value)).changes[0].verdict for value in (85, 100)]
    assert verdicts == [Verdict.UNSURE, Verdict.WORSE]


def test_zeros_have_a_ratio() -> None:
    ratios = [
        compare(sheet_of("s", *former), sheet_of("s", *latter)).changes[0].ratio
        for former, latter in (((0.0, 0.0), (0.0, 0.0)), ((1.0, 1.0), (0.0, 0.0)), ((0.0, 0.0), (1.0, 1.0)))
    ]
    assert ratios == [1.0, 100.0, 0.01]


def saved(path: Path, *sheets: Sheet) -> str:
    path.write_text(json.dumps([row.shown() for sheet in sheets for row in sheet.rows]))
    return str(path)


def test_exit_code_and_table_tell_what_is_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what = "1 process, 1 kB, a line logged per event: CPU per 10,000, with Redis"
    former = saved(tmp_path / "former", sheet_of("s", 0.5, 0.5, what=what), sheet_of("/s", *STEADY))
    latter = saved(tmp_path / "latter", sheet_of("s", 0.7, 0.7, what=what), sheet_of("/s", *STEADY))
    assert main(["--from", former, "--compare", former]) == 0
    capsys.readouterr()
    assert main(["--from", latter, "--compare", former]) == 1
    shown = capsys.readouterr().out
    assert "0.71" in shown
    assert "WORSE" in shown
    assert "1 worse, 1 about the same, 0 better" in shown
    assert max(map(len, shown.splitlines())) <= WIDTH
    # The JSON of a comparison can be compared with again.
    assert main(["--from", latter, "--compare", former, "--json"]) == 1
    again = tmp_path / "again"
    again.write_text(capsys.readouterr().out)
    assert main(["--from", str(again), "--compare", latter]) == 0


def test_rows_of_one_side_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared, gone, added = (sheet_of("/s", *STEADY, what=what) for what in ("shared", "gone", "added"))
    former, latter = saved(tmp_path / "former", shared, gone), saved(tmp_path / "latter", shared, added)
    assert main(["--from", latter, "--compare", former]) == 1
    shown = capsys.readouterr().out
    assert "only in the former measurement: accept: gone" in shown
    assert "only in the latter measurement: accept: added" in shown
    # A part that was not measured now is not missing.
    other = Sheet()
    other.add("route", "elsewhere", RELAY, 1.0)
    former = saved(tmp_path / "more", shared, other)
    assert main(["--from", saved(tmp_path / "less", shared), "--compare", former]) == 0


def test_results_of_several_runs_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = saved(tmp_path / "first", sheet_of("/s", 1.0), sheet_of("/s", 5.0, what="other"))
    second = saved(tmp_path / "second", sheet_of("/s", 2.0))
    assert main(["accept", "--from", first, "--from", second, "--json"]) == 0
    assert [row["relay"] for row in json.loads(capsys.readouterr().out)] == [2.0, 5.0]


@pytest.mark.parametrize("text", ["", "| part |", "{}", "[]", '["row"]', '[{"part": "accept"}]', "[1]"])
def test_other_files_are_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(SystemExit) as refused:
        main(["--compare", str(path)])
    assert refused.value.code == 2
    assert f"{path} is not a result of this bench" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"cannot read .*nothing: No such file"):
        read_results(tmp_path / "nothing")


def test_systems_beside_the_relay_are_not_compared() -> None:
    former, latter = sheet_of("/s", *STEADY), sheet_of("/s", *STEADY)
    former.add("accept", "ceiling", DIY, 1.0)
    comparison = compare(former, latter)
    assert (len(comparison.changes), comparison.missing) == (1, [])


def test_the_other_side_has_its_code_and_this_bench(tmp_path: Path) -> None:
    theirs = tmp_path / "checkout"
    (theirs / "relay").mkdir(parents=True)
    (theirs / "relay" / "__init__.py").touch()
    (theirs / "workers").mkdir()
    (theirs / "tests").mkdir()
    python = theirs / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    with against.other_side(str(theirs)) as side:
        assert (side.root / "relay").resolve() == theirs / "relay"
        assert (side.root / "tests").resolve() == ROOT / "tests"
        assert "--relay-only" in side.options
        command = [side.python, "-c", "import relay; print(relay.__file__)"]
        shown = subprocess.run(command, cwd=side.root, capture_output=True, check=True)  # noqa: S603  ours
        assert shown.stdout.decode().startswith(str(side.root))
    with against.other_side(str(theirs), own_bench=True) as side:
        assert (side.root / "tests").resolve() == theirs / "tests"
        assert not side.options
    assert not side.root.exists()
    assert (theirs / "tests").is_dir()


def test_another_side_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, problem in (("nothing", "neither a directory nor a revision"), (str(tmp_path), "not a checkout")):
        with pytest.raises(SystemExit) as refused:
            main(["accept", "--against", name])
        assert refused.value.code == 2
        assert f"{name} is {problem}" in capsys.readouterr().err


BENCH = """
import json, pathlib, sys
log = pathlib.Path("../order")
order = log.read_text() if log.exists() else ""
log.write_text(order + pathlib.Path.cwd().name)
if "fail" in sys.argv: sys.exit("no such function")
value = 100.0 + len(order)
print(json.dumps([{"part": "push", "what": "row", "unit": "/s", "samples": {"relay": [value]}}]))
"""


def test_rounds_are_measured_in_turns(tmp_path: Path) -> None:
    sides = []
    for name in "ab":
        bench = tmp_path / name / "tests" / "bench"
        bench.mkdir(parents=True)
        of_side = BENCH if name == "a" else BENCH.replace('"relay"', '"ours"')  # as older revisions name it
        for path, text in (("../__init__.py", ""), ("__init__.py", ""), ("__main__.py", of_side)):
            (bench / path).write_text(text)
        sides.append(against.Side(name, tmp_path / name, sys.executable))
    first, second = sides
    former, latter, failures = against.measure_in_turns((first, second), ["push"], 3)
    assert not failures
    assert (tmp_path / "order").read_text() == "abbaab"
    assert former.rows[0].samples == {RELAY: [100.0, 103.0, 104.0]}
    assert compare(former, latter, in_turns=True).changes[0].ratio == 105 / 104  # of 101/100, 102/103 and 105/104
    # A part that fails does not cost the rows of the others, and the comparison is not a good one.
    former, latter, failures = against.measure_in_turns((first, second), ["fail", "push"], 1)
    assert [failure.startswith("fail failed on a:\nno such function") for failure in failures] == [True]
    assert len(former.rows[0].samples[RELAY]) == 1
    assert compare(former, former, failures=failures).is_worse


def test_a_part_that_fails_does_not_cost_the_rows_of_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def failing(_scale: object, _sheet: Sheet) -> None:
        raise RuntimeError("the ledger does not balance")

    async def measured(_scale: object, sheet: Sheet) -> None:
        sheet.add("route", "row", RELAY, 1.0)

    monkeypatch.setitem(PARTS, "accept", failing)
    monkeypatch.setitem(PARTS, "route", measured)
    assert main(["accept", "route", "--json"]) == 1
    shown = capsys.readouterr()
    assert [row["part"] for row in json.loads(shown.out)] == ["route"]
    assert "the ledger does not balance" in shown.err
    assert "accept failed" in shown.err


def test_readme_names_every_part() -> None:
    readme = (ROOT / "tests" / "bench" / "README.md").read_text(encoding="utf-8")
    assert [part for part in PARTS if f"\n| `{part}` | " not in readme] == []
