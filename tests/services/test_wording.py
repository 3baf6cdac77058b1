"""Messages of the services: the same on every face, with the command or the parameter apart from them."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.product_source import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND_LINE = re.compile(r"(^|\W)--[a-z]|(^|[^\w/])relay [a-z-]+( |$|;|\))")
ALLOWED = {"relay listen"}
"""The purpose of a key, which no face shows."""


def texts_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module with their lines, but for docstrings and the hints of errors."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Hint":
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            yield from texts_of(child)


def test_no_message_of_a_service_names_the_command_line() -> None:
    found = [
        f"{name}:{line}: {text}"
        for name, (_, tree) in parsed("relay/services/").items()
        for line, text in texts_of(tree)
        if COMMAND_LINE.search(text) and text not in ALLOWED
    ]
    assert found == []
