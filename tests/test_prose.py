"""The rules of the product's prose, names and sizes; a failure lists every offender as file:line.

Docstrings start with a verb or a noun and name their actor, constants and variables have the field's names, and files,
functions and folders stay small enough to be read.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.product_source import ROOT, parsed, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_FOLDER_FILES = 12
FOLDERS_BY_COMMAND = {"relay/cli"}  # a file for each command, however many

RIDDLE = re.compile(r"(What|Who|Whoever|Whose|Those|How|Whether|Where|Which|One)\b")
NO_ACTOR = re.compile(r"\b(somebody|nobody|whoever)\b", re.IGNORECASE)
OLD_CONSTANT = re.compile(r"_?(MOST|LARGEST|LONGEST)_|(\w*_)?PATIENCE(_\w+)?$")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function
Node = Documented | ast.Constant | ast.Name | ast.arg


@cache
def nodes() -> list[tuple[str, Node]]:
    """Return the nodes of the product that the rules are about, each with the path of its file."""
    return [(name, node) for name, (_, tree) in parsed().items() for node in ast.walk(tree) if isinstance(node, Node)]


def docstrings() -> Iterator[tuple[str, ast.Constant]]:
    """Yield the docstrings of modules, classes, functions and attributes, each with its file."""
    for name, node in nodes():
        if isinstance(node, Documented):
            # The docstring of an attribute is a string on its own that follows an assignment.
            previous = [None, *node.body]
            for before, statement in zip(previous, node.body, strict=False):
                is_first, is_attribute = before is None, isinstance(before, ast.Assign | ast.AnnAssign)
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    text = statement.value
                    if isinstance(text.value, str) and (is_first or is_attribute):
                        yield name, text


def variables() -> Iterator[tuple[str, int, str]]:
    """Yield file, line and name of each variable and parameter."""
    for name, node in nodes():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield name, node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield name, node.lineno, node.arg


def check(offenders: list[str]) -> None:
    """Fail with one line for each offender."""
    if offenders:
        pytest.fail(f"{len(offenders)} found:\n" + "\n".join(offenders), pytrace=False)


def test_docstrings_start_with_a_verb_or_a_noun() -> None:
    check(
        [
            f"{name}:{doc.lineno}: {str(doc.value).strip().splitlines()[0]}"
            for name, doc in docstrings()
            if RIDDLE.match(str(doc.value).strip())
        ]
    )


def test_text_names_the_actor() -> None:
    folders = ("relay", "workers", "deploy")
    below = [path for folder in folders for path in (ROOT / folder).rglob("*.*") if path.suffix in {".lua", ".md"}]
    written = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *below)
    }
    check(
        [
            f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found.group()}"
            for name, text in {**texts(), **written}.items()
            if name != "deploy/docs/changes.md"
            for found in NO_ACTOR.finditer(text)
        ]
    )


def test_no_variable_is_named_one() -> None:
    check([f"{name}:{line}" for name, line, variable in variables() if variable == "one"])


def test_limits_and_timeouts_have_the_usual_names() -> None:
    check([f"{name}:{line}: {variable}" for name, line, variable in variables() if OLD_CONSTANT.match(variable)])


def test_files_are_short() -> None:
    lines = {name: len(text.splitlines()) for name, text in texts().items()}
    check([f"{name}: {count} lines" for name, count in lines.items() if count > MAX_FILE_LINES])


def test_functions_are_short() -> None:
    check(
        [
            f"{name}:{node.lineno}: {node.name}, {lines} lines"
            for name, node in nodes()
            if isinstance(node, Function)
            and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
        ]
    )


def test_folders_are_small() -> None:
    counts = Counter(Path(name).parent.as_posix() for name in texts())
    check(
        [
            f"{folder}: {count} Python files"
            for folder, count in counts.items()
            if count > MAX_FOLDER_FILES and folder not in FOLDERS_BY_COMMAND
        ]
    )


DESTRUCTIVE = re.compile(
    r"\b(HDEL|UNLINK|FLUSHALL|FLUSHDB|XGROUP DESTROY|DEL)\b|\bdelete\b.*(relay:|\bRedis\b|keyring)"
)


def test_no_message_advises_a_destructive_step() -> None:
    documentation = {id(text) for _, text in docstrings()}
    check(
        [
            f"{name}:{node.lineno} {node.value!r}"
            for name, node in nodes()
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
            if id(node) not in documentation and DESTRUCTIVE.search(node.value)
        ]
    )
