"""The recording of the demo, and the script that makes it."""

from __future__ import annotations

import sys
from xml.etree import ElementTree as ET

import pytest

from tests.docs.pages import README
from tests.docs.record_demo import IMAGES, Frame, draw, record
from tests.docs.screen import BLANK, Cell, Screen

_SVG = "{http://www.w3.org/2000/svg}"


def lines_of(screen: Screen) -> list[str]:
    return ["".join(cell.character for cell in row).rstrip() for row in screen.picture()]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_recording_is_a_whole_run_in_both_themes(theme: str) -> None:
    path = IMAGES / f"demo-{theme}.svg"
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314  a file of ours
    texts = {text.text for text in root.iter(f"{_SVG}text")}
    assert {"$ sh deploy/demo.sh --once", "The ledger balances."} <= texts
    assert path.stat().st_size < 200_000
    assert f"deploy/docs/images/{path.name}" in README.links()


def test_both_themes_show_the_same_run() -> None:
    light, dark = (
        ET.fromstring((IMAGES / f"demo-{theme}.svg").read_text(encoding="utf-8"))  # noqa: S314  files of ours
        for theme in ("light", "dark")
    )
    words = [[text.text for text in root.iter(f"{_SVG}text")] for root in (light, dark)]
    assert words[0] == words[1]


def test_screen_moves_up_erases_and_scrolls() -> None:
    screen = Screen(10, 3)
    screen.feed("one\ntwo\nthree\nfour")
    assert lines_of(screen) == ["two", "three", "four"]
    screen.feed("\r\x1b[1A\x1b[2Kthis\r\nfo\x1b[Kx")
    assert lines_of(screen) == ["two", "this", "fox"]


def test_screen_keeps_colours_and_wraps() -> None:
    screen = Screen(2, 2)
    screen.feed("\x1b[1;32mab\x1b[0mc\x1b[?25l")
    assert screen.picture() == (
        (Cell("a", "green", is_bold=True), Cell("b", "green", is_bold=True)),
        (Cell("c"), BLANK),
    )


def test_a_run_becomes_frames_and_a_picture() -> None:
    frames = record([sys.executable, "-c", "print('\\x1b[31ma <b>\\x1b[0m  c')"])
    assert all(isinstance(frame, Frame) for frame in frames)
    root = ET.fromstring(draw(frames, "dark"))  # noqa: S314  made above
    assert {text.text: text.get("class") for text in root.iter(f"{_SVG}text") if text.text != root[0].text} == {
        "$ sh deploy/demo.sh --once": "plain",
        "a <b>": "red",
        "c": "plain",
    }


def test_a_failed_run_is_not_drawn() -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        record([sys.executable, "-c", "raise SystemExit(3)"])
