"""How commands speak."""

from __future__ import annotations

import json
import re

import pytest

from relay.cli.output import local_time, print_json, print_table, printable


def test_json_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"bytes": b"\xc3\xa9", "none": None, "list": [1, "two"]})
    assert json.loads(capsys.readouterr().out) == {"bytes": "é", "none": None, "list": [1, "two"]}


def test_a_table_shows_its_title_columns_and_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Lines", ("line", "events", "note"), [("+16465550123", 12, None), ("+16465550124", 3, True)])
    out = capsys.readouterr().out
    for text in ("Lines", "line", "events", "+16465550123", "12", "True"):
        assert text in out
    assert "None" not in out


def test_numbers_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Counts", ("name", "events"), [("a", 5), ("b", 1234)])
    one, other = (line for line in capsys.readouterr().out.splitlines() if re.search(r"\b(5|1234)\b", line))
    assert one.index("5") == other.index("1234") + 3


def test_a_table_without_rows_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Nothing", ("name",), [])
    assert "Nothing" in capsys.readouterr().out


@pytest.mark.parametrize("cell", ["a [bold] word", "http://host/[a]/x", "closes [/nothing]"])
def test_a_cell_is_shown_as_it_is(cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Cells", ("cell",), [(cell,)])
    assert cell in capsys.readouterr().out


def test_a_time_is_shown_to_the_second() -> None:
    assert re.fullmatch(r"2026-09-1[345] \d\d:15:02", local_time(1_789_377_302_417))


def test_what_a_stranger_wrote_reaches_no_terminal_as_a_command() -> None:
    assert printable("a\x1b[31mred\x00\x9b\n\tü✓") == "a\\x1b[31mred\\x00\\x9b\n\tü✓"
