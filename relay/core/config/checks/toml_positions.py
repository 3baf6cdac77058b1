"""Line numbers of the values in a TOML file, for error messages; tomllib does not provide them.

Scans for table headers and keys at the start of lines, which is how such files are written. A value inside an inline
table or a multi-line string gets the line of the nearest key above it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER = re.compile(r"\s*(\[\[|\[)\s*([\w.-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*(?:\.[^=]*)?=""")


class TomlPositions:
    """Line numbers of every table and key of one file."""

    def __init__(self, text: str, filename: str) -> None:
        self._text = text
        self._filename = filename

    @cached_property
    def _line_of(self) -> dict[tuple[str | int, ...], int]:
        """The lines by path; only a file with mistakes needs them."""
        found: dict[tuple[str | int, ...], int] = {}
        counts: Counter[str] = Counter()
        table: tuple[str | int, ...] = ()
        for number, line in enumerate(self._text.splitlines(), start=1):
            if header := _HEADER.match(line):
                first, *rest = header[2].split(".")
                table = (first, *rest)
                if header[1] == "[" and rest and counts[first]:  # it belongs to the last [[table]] above it
                    table = (first, counts[first] - 1, *rest)
                elif header[1] == "[[":
                    found.setdefault(table, number)
                    table = (*table, counts[header[2]])
                    counts[header[2]] += 1
                found.setdefault(table, number)
            elif key := _KEY.match(line):
                found.setdefault((*table, key[1]), number)
        return found

    def of(self, path: Sequence[str | int]) -> str:
        """Return the position of the value at `path`, such as `relay.toml:14 topics[1].lines[0]`."""
        written = ""
        for step in path:
            written += f"[{step}]" if isinstance(step, int) else f".{step}" if written else step
        for length in range(len(path), 0, -1):
            line = self._line_of.get(tuple(path[:length]))
            if line is not None:
                return f"{self._filename}:{line} {written}"
        return f"{self._filename} {written}"

    @staticmethod
    def order(place: str) -> tuple[int, str]:
        """Return a key that sorts positions from the top of the file to its end."""
        number = re.search(r":(\d+) ", place)
        return (int(number[1]) if number else 0, place)
