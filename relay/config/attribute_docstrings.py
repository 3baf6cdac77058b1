"""The docstrings below the attributes of a pydantic model."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring of each attribute, inherited ones included.

    The source is parsed here, and not by pydantic (`use_attribute_docstrings`), since only documents and few errors
    need it: parsing costs a process that imports the settings or the API a third of what the imports cost.
    """
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.model_fields:
            texts |= _docstrings_of_classes(base.__module__).get(base.__qualname__, {})
    return texts


@cache
def _docstrings_of_classes(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of attributes of the classes of a module, by the class's qualified name."""
    found: dict[str, dict[str, str]] = {}
    rest: list[tuple[str, ast.AST]] = [("", ast.parse(inspect.getsource(sys.modules[module])))]
    while rest:
        prefix, node = rest.pop()
        for inner in ast.iter_child_nodes(node):
            match inner:
                case ast.ClassDef(name=name, body=body):
                    found[prefix + name] = dict(_docstrings_in(body))
                    rest.append((f"{prefix}{name}.", inner))
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    rest.append((f"{prefix}{name}.<locals>.", inner))
                case _:
                    pass
    return found


def _docstrings_in(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for attribute, below in pairwise(body):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
            case _:
                pass
