"""Records the demo: runs it in a terminal of its own and draws what it showed as animated SVGs, light and dark.

    .venv/bin/python -m tests.docs.record_demo        writes deploy/docs/images/demo-light.svg and demo-dark.svg

The pictures are the real output of `relay demo --once`. One picture a second is kept and each distinct row is stored
once, so that a recording of half a minute takes some tens of kilobytes. Browsers play it by CSS; with the system's
"reduce motion" setting only the last picture is shown.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.docs.screen import BLANK, Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.docs.screen import Row

IMAGES = Path(__file__).resolve().parents[2] / "deploy" / "docs" / "images"

_COLUMNS, _ROWS = 80, 36
_PROMPT = "$ sh deploy/demo.sh --once"
_INTERVAL = 1.0  # seconds between two pictures
_LAST = 6.0  # seconds that the last picture stays before the recording starts again
_WIDTH, _HEIGHT, _MARGIN, _SIZE = 8.0, 18, 16, 13  # of a character; around the text; of the font

_THEMES = {
    "light": {
        "background": "#ffffff",
        "border": "#d0d7de",
        "plain": "#1f2328",
        "green": "#1a7f37",
        "red": "#cf222e",
        "yellow": "#9a6700",
        "blue": "#0969da",
        "magenta": "#8250df",
        "cyan": "#1b7c83",
    },
    "dark": {
        "background": "#0d1117",
        "border": "#30363d",
        "plain": "#e6edf3",
        "green": "#3fb950",
        "red": "#f85149",
        "yellow": "#d29922",
        "blue": "#58a6ff",
        "magenta": "#bc8cff",
        "cyan": "#39c5cf",
    },
}

_SURFACES = {"background", "border"}
_FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_WORDS = re.compile(r"\S+(?: \S+)*")
_EMPTY = (BLANK,) * _COLUMNS

Picture = tuple["Row", ...]


class Frame(NamedTuple):
    """A picture and when it was shown, in seconds since the start."""

    at: float
    picture: Picture


def record(command: Sequence[str]) -> list[Frame]:
    """Run `command` in a terminal and return what it showed, without repeated pictures.

    Raises:
        SystemExit: the command failed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "LINES": str(_ROWS)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)  # noqa: S603
    os.close(theirs)
    screen = Screen(_COLUMNS, _ROWS)
    screen.feed(f"{_PROMPT}\n\n")
    frames = [Frame(0.0, screen.picture())]
    start = time.monotonic()
    for text in _output(ours):
        screen.feed(text)
        at = time.monotonic() - start
        if at - frames[-1].at >= _INTERVAL and screen.picture() != frames[-1].picture:
            frames.append(Frame(at, screen.picture()))
    if process.wait() != 0:
        sys.exit(f"the demo failed with exit code {process.returncode}")
    return [*frames, Frame(time.monotonic() - start, screen.picture())]


def _output(terminal: int) -> Iterator[str]:
    """Yield what arrives, and an empty text at least every tenth of a second, until the terminal is closed."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        readable, _, _ = select.select([terminal], [], [], 0.1)
        try:
            data = os.read(terminal, 65536) if readable else b""
        except OSError:  # Linux reports EIO when the other side is closed
            return
        if readable and not data:
            return
        yield decoder.decode(data)


def draw(frames: Sequence[Frame], theme: str) -> str:
    """Return an animated SVG of `frames`."""
    rows = sorted({row for frame in frames for row in frame.picture if row != _EMPTY})
    names = {row: f"r{number}" for number, row in enumerate(rows)}
    used = max(number for frame in frames for number, row in enumerate(frame.picture, 1) if row != _EMPTY)
    width, height = _COLUMNS * _WIDTH + 2 * _MARGIN, used * _HEIGHT + 2 * _MARGIN
    colours = _THEMES[theme]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img">\n'
        f"<title>A recording of {escape(_PROMPT.removeprefix('$ '))}</title>\n"
        f"<style>{_style(frames, colours)}</style>\n"
        f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8" '
        f'fill="{colours["background"]}" stroke="{colours["border"]}"/>\n'
    )
    stored = "\n".join(f'<g id="{name}">{_text(row)}</g>' for row, name in names.items())
    shown = "\n".join(_placed(number, frame, names) for number, frame in enumerate(frames))
    return f"{head}<defs>\n{stored}\n</defs>\n{shown}\n</svg>\n"


def _placed(number: int, frame: Frame, names: Mapping[Row, str]) -> str:
    """Return one picture: its rows by reference."""
    uses = (
        f'<use href="#{names[row]}" x="{_MARGIN}" y="{_MARGIN + line * _HEIGHT - 4}"/>'
        for line, row in enumerate(frame.picture, 1)
        if row in names
    )
    return f'<g class="f" id="f{number}">{"".join(uses)}</g>'


def _style(frames: Sequence[Frame], colours: Mapping[str, str]) -> str:
    """Return the style sheet: looks, and when each picture is visible."""
    duration = frames[-1].at + _LAST
    looks = "".join(f".{name}{{fill:{colour}}}" for name, colour in colours.items() if name not in _SURFACES)
    ends = [*(after.at for _, after in pairwise(frames)), duration]
    times = "\n".join(
        _visible(number, 100 * frame.at / duration, 100 * end / duration)
        for number, (frame, end) in enumerate(zip(frames, ends, strict=True))
    )
    return (
        f"text{{font:{_SIZE}px {_FONTS}}}\n.bold{{font-weight:bold}}{looks}\n"
        f".f{{visibility:hidden;animation:{duration:.1f}s step-end infinite}}\n{times}\n"
        f"@media(prefers-reduced-motion:reduce){{.f{{animation:none}}#f{len(frames) - 1}{{visibility:visible}}}}"
    )


def _visible(number: int, first: float, last: float) -> str:
    hidden = "0%{visibility:hidden}" if first else ""
    steps = f"{hidden}{first:.2f}%{{visibility:visible}}{last:.2f}%{{visibility:hidden}}"
    return f"@keyframes k{number}{{{steps}}}#f{number}{{animation-name:k{number}}}"


def _text(row: Row) -> str:
    """Return the words of a row, each at its column: fonts differ in the width of boxes and ticks."""
    texts, column = [], 0
    for (colour, is_bold), cells in groupby(row, key=lambda cell: (cell.colour, cell.is_bold)):
        run = "".join(cell.character for cell in cells)
        look = f"{colour or 'plain'}{' bold' if is_bold else ''}"
        for words in _WORDS.finditer(run):
            place = f'x="{(column + words.start()) * _WIDTH:g}" textLength="{len(words[0]) * _WIDTH:g}"'
            texts.append(f'<text class="{look}" {place}>{escape(words[0])}</text>')
        column += len(run)
    return "".join(texts)


def main() -> None:
    """Record the demo and write both pictures."""
    frames = record([sys.executable, "-m", "relay", "demo", "--once"])
    IMAGES.mkdir(parents=True, exist_ok=True)
    for theme in _THEMES:
        path = IMAGES / f"demo-{theme}.svg"
        path.write_text(draw(frames, theme), encoding="utf-8")
        sys.stdout.write(f"wrote {path} ({len(frames)} pictures, {path.stat().st_size // 1024} KB)\n")


if __name__ == "__main__":
    main()
