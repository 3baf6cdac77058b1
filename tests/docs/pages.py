"""The pages of the documentation, and what stands in them: sections, tables, blocks, links, commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from relay.cli.program import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "deploy" / "docs"
ROOT_COMMAND: Any = typer.main.get_command(app)
"""The command `relay`."""

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r'(?:src|srcset)="([^"]+)"')
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the top of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        """Everything in it."""
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """Return the code blocks in `language`."""
        return [code for found, code in _BLOCK.findall(self.text) if found == language]

    def rows(self, heading: str) -> list[list[str]]:
        """Return the rows of the first table below `heading`, without its head."""
        section = re.split(rf"^#+ {re.escape(heading)}$", self.text, flags=re.MULTILINE)[1]
        return _tables(section)[0]

    def all_rows(self) -> list[list[str]]:
        """Return the rows of all tables."""
        return [row for table in _tables(self.text) for row in table]

    def links(self) -> list[str]:
        """Return the targets of links and images."""
        return [*_LINK.findall(self.text), *_IMAGE.findall(self.text)]

    def anchors(self) -> set[str]:
        """Return the anchors that GitHub gives to its headings."""
        prose = _BLOCK.sub("", self.text)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose)}

    def code(self) -> Iterator[str]:
        """Yield every code span, and every line of a shell block without its comment."""
        for language, block in _BLOCK.findall(self.text):
            if language in {"sh", ""}:
                yield from (line.split("  #")[0].strip() for line in block.splitlines())
        yield from re.findall(r"`([^`\n]+)`", _BLOCK.sub("", self.text))


def _tables(text: str) -> list[list[list[str]]]:
    tables, lines = [], iter([*text.splitlines(), ""])
    table: list[str] = []
    for line in lines:
        if line.startswith("|"):
            table.append(line)
        elif table:
            tables.append([_cells(row) for row in table[2:]])
            table = []
    return tables


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


README = Page(ROOT / "README.md")
PAGES = (README, *(Page(path) for path in sorted(DOCS.glob("*.md"))))


def page(name: str) -> Page:
    """Return a page of deploy/docs."""
    return Page(DOCS / name)
