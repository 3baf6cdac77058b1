"""The warnings and errors that the product logs, found in its source: a new one needs a section of the runbook."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

from tests.product_source import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOUD = {"warning", "error", "exception", "critical"}
_LOGS = re.compile(r"\blog\s*\.")
"""Is in every file that logs; only there the tree is searched."""
_FOR_TESTS = ("relay/sandbox/", "relay/demo/")
_BY_KIND = {"contain", "look", "log_suspended"}
"""Functions of `relay.store.isolation`, which log `<kind>.error` and `<kind>.suspended`: the kind is given first."""
_PASSES_NAMES = re.compile(rf"\b({'|'.join(sorted(_BY_KIND))}|record)\b")
"""Is in every file that passes the name of an event on."""
_CHOSEN = {
    ("relay/store/isolation.py", "event"): "by kind",
    ("relay/store/inbox/refusals.py", "event"): "by caller",
    ("workers/maintenance/alert_run.py", "event"): "alert.began",
    ("workers/delivery/flow_control.py", "f'breaker.{state}'"): "breaker.open",
}
"""Events whose name is not written where they are logged, by file and expression."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def loud_events() -> frozenset[str]:
    """Return the names of all events that are logged as a warning or an error.

    Raises:
        LookupError: a name is computed in a way that is not known here.
    """
    found: set[str] = set()
    for name, text, tree in _sources():
        for expression in _names(tree) if _LOGS.search(text) else ():
            if isinstance(expression, ast.Constant):
                found.add(str(expression.value))
            elif (source := (name, ast.unparse(expression))) not in _CHOSEN:
                raise LookupError(f"{name}:{expression.lineno}: write the name of the event there, or list it here")
            elif "." in (event := _CHOSEN[source]):
                found.add(event)
        if _PASSES_NAMES.search(text):
            found |= _events_of_callers(tree)
    return frozenset(found | {"event.refused"})


def _sources() -> Iterator[tuple[str, str, ast.Module]]:
    for name, (text, tree) in parsed().items():
        if not name.startswith(_FOR_TESTS):
            yield name, text, tree


def _names(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the name of the event of each call that can log it as a warning or an error."""
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(map(_is_loud, ast.walk(node.value)))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            if _is_loud(node.func) or (isinstance(node.func, ast.Name) and node.func.id in aliases):
                yield from _choices(node.args[0])
            elif isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "log.log":
                yield from _choices(node.args[1])


def _is_loud(node: ast.AST) -> bool:
    """Return True for `log.error` and the like; a logger of the standard library is called `_log`."""
    return isinstance(node, ast.Attribute) and node.attr in _LOUD and ast.unparse(node.value) == "log"


def _choices(expression: ast.expr) -> list[ast.expr]:
    return [expression.body, expression.orelse] if isinstance(expression, ast.IfExp) else [expression]


def _events_of_callers(tree: ast.Module) -> set[str]:
    """Return the events whose names the calls in `tree` pass on."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in _BY_KIND:
            found |= {f"{node.args[0].value!s}.error", f"{node.args[0].value!s}.suspended"}
        elif called == "record":
            found |= {str(ast.literal_eval(word.value)) for word in node.keywords if word.arg == "event"}
    return found
