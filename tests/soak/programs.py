"""The members' programs by language: how each is prepared and started.

Python's is on `relay.consumer`; Node's and Go's are the samples of deploy/samples with a handler of the soak.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.samples.languages import GO, NODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.samples.languages import Language

_MEMBERS = Path(__file__).parent / "members"


@dataclass(frozen=True, slots=True)
class Program:
    """A member's program."""

    tools: tuple[str, ...]
    """Programs that it needs on the PATH."""
    prepare: Callable[[], list[str]]
    """Builds it, and returns its command line."""
    says: dict[str, re.Pattern[str]]
    """Patterns of the lines by which it tells `missed` and `trimmed` events (with their number, or one each) and
    `restored` groups."""


_SAMPLE_SAYS = {
    "missed": re.compile(r"(\d+) events were trimmed before they were read"),
    "trimmed": re.compile(r"[\d.-]+ was trimmed before it was handled"),
    "restored": re.compile(r"made the group "),
}


def _python() -> list[str]:
    return [sys.executable, str(_MEMBERS / "member.py")]


def _sample(language: Language, driver: str, *command: str) -> Program:
    """Return a sample with a handler of the soak in place of the one of the samples' tests."""
    sample = replace(language, driver=str(_MEMBERS / driver))

    def prepare() -> list[str]:
        program, *arguments = command
        built = sample.built()
        return [
            str(built / program) if program.startswith(".") else program,
            *(str(built / name) for name in arguments),
        ]

    return Program((language.tool,), prepare, _SAMPLE_SAYS)


PROGRAMS: dict[str, Program] = {
    "python": Program(
        (),
        _python,
        {
            "missed": re.compile(r"told: missed (\d+)"),
            "trimmed": re.compile(r"told: trimmed (\d+)"),
            "restored": re.compile(r"was lost; it is made again at"),
        },
    ),
    "node": _sample(NODE, "member.mjs", "node", "member.mjs"),
    "go": _sample(GO, "member.go", "./member"),
}
