from __future__ import annotations

import ast
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from relay.core.lazy_modules import LazyModule
from relay.process.imports import OnFirstUse
from tests.product_source import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lazy_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and module of each lazy module of a file."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("LazyModule"), [ast.Constant(str(module))])):
                yield name, module
            case _:
                pass


def imported_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and module of each module that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((found.asname or found.name, found.name) for found in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((found.asname or found.name, f"{node.module}.{found.name}") for found in node.names)


def test_type_checker_sees_the_module_that_is_imported_later() -> None:
    lazy = {(file, *found) for file, (_, tree) in parsed().items() for found in lazy_names(tree)}
    seen = {(file, *found) for file, (_, tree) in parsed().items() for found in imported_names(tree)}
    assert lazy
    assert lazy - seen == set()


def test_imports_are_at_the_top_of_their_files() -> None:
    functions = ((file, node) for file, (_, tree) in parsed().items() for node in ast.walk(tree))
    found = {
        file
        for file, node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node))
    }
    assert found == set()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that is not imported yet."""
    (tmp_path / "imported_by_a_test.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "imported_by_a_test"
    sys.modules.pop("imported_by_a_test", None)


def test_module_is_imported_when_an_attribute_is_read(module: str) -> None:
    lazy = LazyModule(module)
    assert module not in sys.modules
    assert lazy.answer == 42
    assert import_module(module).answer == 42
    with pytest.raises(AttributeError):
        _ = lazy.nothing


def test_missing_module_is_an_import_error_when_it_is_used() -> None:
    with pytest.raises(ModuleNotFoundError):
        _ = LazyModule("not_installed_anywhere").answer


async def test_part_is_made_once_with_its_module_imported(module: str) -> None:
    made: list[bool] = []

    def make() -> list[str]:
        made.append(module in sys.modules)
        return []

    part = OnFirstUse(LazyModule(module), make)
    assert made == []
    assert await part.get() is await part.get()
    assert made == [True]
