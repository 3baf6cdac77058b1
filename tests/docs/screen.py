"""A terminal's screen, as far as the demo needs one: text, colours, moving up, erasing and scrolling."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(r"\x1b\[(?P<args>[?0-9;]*)(?P<final>[A-Za-z])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n]+)")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class Cell(NamedTuple):
    """One character and its look."""

    character: str = " "
    colour: str = ""
    is_bold: bool = False


BLANK = Cell()
Row = tuple[Cell, ...]


class Screen:
    """What a terminal of `columns` and `rows` shows after `feed`."""

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows: list[list[Cell]] = [[BLANK] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._colour, self._is_bold = "", False

    def feed(self, text: str) -> None:
        """Write `text` with its control sequences; unknown ones are ignored."""
        for token in _TOKEN.finditer(text):
            if token["final"]:
                self._control(token["final"], token["args"])
            elif token["control"] == "\r":
                self._column = 0
            elif token["control"] == "\n":
                self._column = 0
                self._down()
            else:
                self._write(token["text"])

    def picture(self) -> tuple[Row, ...]:
        """Return the rows as they are now."""
        return tuple(map(tuple, self._rows))

    def _write(self, text: str) -> None:
        for character in text:
            if self._column == self._columns:
                self._column = 0
                self._down()
            self._rows[self._row][self._column] = Cell(character, self._colour, self._is_bold)
            self._column += 1

    def _down(self) -> None:
        if self._row + 1 < len(self._rows):
            self._row += 1
        else:
            self._rows = [*self._rows[1:], [BLANK] * self._columns]

    def _control(self, final: str, arguments: str) -> None:
        match final:
            case "A":
                self._row = max(0, self._row - int(arguments or 1))
            case "K":
                start = 0 if arguments == "2" else self._column
                self._rows[self._row][start:] = [BLANK] * (self._columns - start)
            case "m":
                self._style([int(argument or 0) for argument in arguments.split(";")])
            case _:
                pass

    def _style(self, codes: list[int]) -> None:
        for code in codes:
            if code == 0:
                self._colour, self._is_bold = "", False
            elif code == 1:
                self._is_bold = True
            elif 30 <= code <= 37:
                self._colour = _COLOURS[code - 30]
            elif 90 <= code <= 97:
                self._colour = _COLOURS[code - 90]
            elif code == 39:
                self._colour = ""
            elif code == 22:
                self._is_bold = False
