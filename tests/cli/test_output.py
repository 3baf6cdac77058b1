"""The output of commands: tables, blocks, lines for other programs, JSON, times."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime

import pytest

from relay.cli import terminal
from relay.cli.output import View, print_fields, print_json, print_table, printable

AT = 1_789_377_302_417
LONG = "x" * 60
ROWS = [("e-1", LONG, LONG), ("e-2", LONG, None)]


@pytest.fixture
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")


def test_json_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"bytes": b"\xc3\xa9", "none": None, "list": [1, "two"]})
    assert json.loads(capsys.readouterr().out) == {"bytes": "é", "none": None, "list": [1, "two"]}


def test_json_is_valid_in_an_ascii_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    print_json({"text": "é✓"})
    sys.stdout.flush()
    assert json.loads(written.getvalue()) == {"text": "é✓"}


def test_table_shows_title_columns_and_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Lines", ("line", "events", "note"), [("+16465550123", 12, None), ("+16465550124", 3, True)])
    out = capsys.readouterr().out
    for text in ("Lines", "line", "events", "+16465550123", "12", "yes"):
        assert text in out
    assert "None" not in out


def test_numbers_are_aligned_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Counts", ("name", "events"), [("a", 5), ("b", 1234)])
    first, second = (line for line in capsys.readouterr().out.splitlines() if re.search(r"\b(5|1234)\b", line))
    assert first.index("5") == second.index("1234") + 3


def test_table_without_rows_says_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Nothing", ("name",), [])
    assert capsys.readouterr().out.split() == ["Nothing", "none"]


@pytest.mark.parametrize("cell", ["a [bold] word", "http://host/[a]/x", "closes [/nothing]"])
def test_cell_is_not_read_as_markup(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Cells", ("cell",), [(cell,)])
    assert cell in capsys.readouterr().out


def test_piped_table_has_one_whole_line_for_each_record(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table("Long", ("id", "one", "two"), [("e-1", LONG, "two\nlines"), ("e-2", "", LONG)])
    _, _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"e-1  {LONG}  two lines"
    assert second.split() == ["e-2", LONG]


@pytest.mark.usefixtures("narrow_terminal")
def test_table_that_does_not_fit_becomes_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Long", ("id", "first", "second"), ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "Long",
        "id      e-1",
        f"first   {LONG}",
        f"second  {LONG}",
        "",
        "id      e-2",
        f"first   {LONG}",
        "",
    ]


@pytest.mark.usefixtures("narrow_terminal")
def test_wide_keeps_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Long", ("id", "first", "second"), ROWS, View(wide=True))
    assert f"e-1  {LONG}  {LONG}" in capsys.readouterr().out


@pytest.mark.usefixtures("narrow_terminal")
def test_colour_only_on_a_terminal_that_wants_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in terminal.paint("text", fg="red")
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" in terminal.paint("text", fg="red")
    monkeypatch.setattr(terminal, "is_terminal", lambda: False)
    print_table("Title", ("a",), [("b",)])
    assert "\x1b" not in capsys.readouterr().out


def test_time_has_its_zone() -> None:
    assert View(utc=True).time(AT) == "2026-09-14 09:15:02+00:00"
    local = View().time(AT)
    assert re.fullmatch(r"2026-09-1[345] \d\d:\d\d:02[+-]\d\d:\d\d", local)
    assert datetime.fromisoformat(local) == datetime.fromtimestamp(AT // 1000, UTC)
    assert View().time(None, "never") == "never"


def test_fields_show_moments_as_times(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields("Record", {"died_at": AT, "first_attempt_at": AT}, View(utc=True), {"died_at": "given up"})
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "given up       2026-09-14 09:15:02+00:00",
        "first attempt  2026-09-14 09:15:02+00:00",
    ]


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31mred\x00\x9b\n\tü✓") == "a\\x1b[31mred\\x00\\x9b\n\tü✓"
