"""JMESPath without what could take unbounded time or memory.

JMESPath has no loops, variables or recursion, but an expression of 100 characters can still double a list 20 times, or
a text. So no part of it may copy the body (lists and objects of selected parts, functions that build texts), only
scalars are compared unless one side is a literal, and each visit of a node is a step, of which an evaluation has a
limited number; functions and comparisons cost as many steps as what they look at is large.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jmespath.exceptions import (
    ArityError,
    IncompleteExpressionError,
    JMESPathError,
    JMESPathTypeError,
    LexerError,
    ParseError,
)
from jmespath.functions import Functions
from jmespath.lexer import Lexer
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter

from relay.core.conditions.where import Undecided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Node = dict[str, Any]

MAX_STEPS = 5000
"""Steps of an evaluation: 10 ms for the worst that we could write, over a body of 2.5 MB."""
MAX_DEPTH = 64
"""Nodes of an expression within one another."""
_CONTINUED = {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "flatten"}
_EQUALITY = {"eq", "ne"}
_LISTS = {"projection", "filter_projection", "value_projection", "multi_select_list"}
_YIELDS = {
    **dict.fromkeys(("abs", "avg", "ceil", "floor", "length", "sum", "to_number"), "number"),
    **dict.fromkeys(("keys", "values"), "list"),
    "type": "text",
}
"""Functions whose result is never true or false."""
_ITEMS_A_STEP = 8  # that a function reads in the time of a step
_CHARACTERS_A_STEP = 256

LEFT_OUT = ("join", "map", "merge", "reverse", "sort", "sort_by", "to_array", "to_string")
FUNCTIONS = tuple(sorted(set(Functions.FUNCTION_TABLE) - set(LEFT_OUT)))
"""Names of the functions that are available; the others build lists and texts, which a condition does not need."""


class _OutOfSteps(Exception):
    """The evaluation would take too long."""


class Program:
    """A compiled expression."""

    def __init__(self, text: str) -> None:
        self._root = _parsed(text)
        _check(text, self._root)
        self._interpreter = _Interpreter()

    def result(self, body: Any) -> Any:
        """Return the value for a body.

        Raises:
            Undecided: the evaluation failed; the reason names no content of the body.
        """
        try:
            return self._interpreter.evaluate(self._root, body)
        except _OutOfSteps:
            raise Undecided(f"it takes more than {MAX_STEPS} steps for this body") from None
        except JMESPathError as error:
            raise Undecided(_failure(error)) from None
        except (ArithmeticError, RecursionError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise Undecided(f"it fails with {type(error).__name__}") from None


def _parsed(text: str) -> Node:
    try:
        root: Node = Parser().parse(text).parsed
    except (IncompleteExpressionError, ArityError) as error:
        raise ValueError(f"it is not JMESPath: it ends too early (after character {len(text)})") from error
    except LexerError as error:
        raise ValueError(
            f"it is not JMESPath: {error.message[:1].lower()}{error.message[1:]} (character {error.lexer_position + 1})"
        ) from error
    except ParseError as error:
        raise ValueError(
            f'it is not JMESPath: "{error.token_value}" is unexpected at character {error.lex_position + 1}'
        ) from error
    except JMESPathError as error:
        raise ValueError("it is empty") from error
    except RecursionError:
        raise ValueError(f"it is nested too deeply; at most {MAX_DEPTH} levels are allowed") from None
    return root


def _check(text: str, root: Node) -> None:
    """Refuse what could be unbounded, and calls that could never work."""
    for name, position in _calls(text):
        if name not in FUNCTIONS:
            raise ValueError(
                f'there is no function "{name}" (character {position + 1}); there are {", ".join(FUNCTIONS)}'
            )
    for node, depth in _nodes(root):
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested too deeply; at most {MAX_DEPTH} levels are allowed")
        kind = node["type"]
        if kind in {"multi_select_list", "multi_select_dict"} and any(
            part["type"] != "literal" for child in node["children"] for part in _values(child)
        ):
            raise ValueError("a list [a, b] or an object {a: b} of parts of the body is not available; compare each")
        if kind in _CONTINUED and node["children"][0]["type"] == "not_expression":
            raise ValueError('"!" is for the next name only, so "!a.b" is not what it seems; write !(a.b)')
        if kind == "function_expression":
            _check_arity(node)
    _check_result(root)


def _check_result(root: Node) -> None:
    """Refuse an expression whose result is never true or false, whatever the body: it would match no event."""
    while root["type"] in {"pipe", "subexpression"}:
        root = root["children"][-1]
    kind, name = root["type"], root.get("value")
    if kind in _LISTS:
        raise ValueError("its result is a list, never true or false; to ask if it has any, write length(...) > `0`")
    if kind == "literal":
        raise ValueError("its result is always the same; compare it with a part of the body")
    if kind == "function_expression" and name in _YIELDS:
        raise ValueError(f"{name}() yields a {_YIELDS[name]}, never true or false; compare it: {_compared(name)}")


def _compared(name: str) -> str:
    return {
        "keys": "length(keys(...)) > `0`",
        "values": "length(values(...)) > `0`",
        "type": "type(...) == 'string'",
    }.get(name, f"{name}(...) > `0`")


def _check_arity(node: Node) -> None:
    signature = Functions.FUNCTION_TABLE[node["value"]]["signature"]
    given, wanted = len(node["children"]), len(signature)
    if given < wanted or (given > wanted and not signature[-1].get("variadic")):
        raise ValueError(f"{node['value']}() takes {wanted} argument{'s' if wanted != 1 else ''}, not {given}")


def _values(child: Node) -> list[Node]:
    return child["children"] if child["type"] == "key_val_pair" else [child]


def _calls(text: str) -> Iterator[tuple[str, int]]:
    """Yield the name of each function that is called, and its place."""
    tokens = list(Lexer().tokenize(text))
    for token, following in pairwise(tokens):
        if token["type"] == "unquoted_identifier" and following["type"] == "lparen":
            yield token["value"], token["start"]


def _nodes(root: Node) -> Iterator[tuple[Node, int]]:
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if depth <= MAX_DEPTH:
            waiting += [(child, depth + 1) for child in node["children"] if isinstance(child, dict)]


def _failure(error: JMESPathError) -> str:
    """Describe an error without the value that caused it, which can be a text of a message."""
    if not isinstance(error, JMESPathTypeError):
        return "it fails"
    return f"{error.function_name}() needs {' or '.join(error.expected_types)} and gets {error.actual_type}"


class _Interpreter(TreeInterpreter):  # type: ignore[misc] # the library has no types
    """The library's interpreter, with a limit."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0
        self._methods: dict[str, Callable[[Node, Any], Any]] = {
            name.removeprefix("visit_"): getattr(self, name) for name in dir(self) if name.startswith("visit_")
        }

    def evaluate(self, root: Node, body: Any) -> Any:
        """Return the value of an expression."""
        self._left = MAX_STEPS
        return self.visit(root, body)

    def visit(self, node: Node, value: Any) -> Any:
        """Visit a node, which is a step."""
        self._left -= 1
        if self._left < 0:
            raise _OutOfSteps
        return self._methods[node["type"]](node, value)

    def _charge(self, value: Any) -> None:
        """Take the steps for reading a value once."""
        if isinstance(value, str):
            self._left -= len(value) // _CHARACTERS_A_STEP
        elif isinstance(value, (list, dict)):
            self._left -= len(value) // _ITEMS_A_STEP
        if self._left < 0:
            raise _OutOfSteps

    def visit_comparator(self, node: Node, value: Any) -> Any:
        """Compare two values, of which one must be a scalar or a literal."""
        first, second = node["children"]
        left, right = self.visit(first, value), self.visit(second, value)
        self._charge(left)
        self._charge(right)
        if node["value"] not in _EQUALITY:
            if not (_has_order(left) and _has_order(right)):
                return None
        elif (
            isinstance(left, (list, dict))
            and isinstance(right, (list, dict))
            and "literal" not in {first["type"], second["type"]}
        ):
            raise Undecided("it compares two lists or objects of the body")
        return self.COMPARATOR_FUNC[node["value"]](left, right)

    def visit_flatten(self, node: Node, value: Any) -> Any:
        """Flatten a list; costs what the result has."""
        flat = super().visit_flatten(node, value)
        self._charge(flat)
        return flat

    def visit_slice(self, node: Node, value: Any) -> Any:
        """Take a part of a list; costs what the result has."""
        part = super().visit_slice(node, value)
        self._charge(part)
        return part

    def visit_function_expression(self, node: Node, value: Any) -> Any:
        """Call a function; costs what its arguments have."""
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            self._charge(argument)
        if node["value"] == "contains" and isinstance(arguments[1], (list, dict)):
            raise Undecided("contains() looks for a list or an object")
        return self._functions.call_function(node["value"], arguments)


def _has_order(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)
