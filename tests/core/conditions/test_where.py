"""Expressions: what is refused at load, what is undecided at run time, and that both are bounded."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from relay.core.conditions.where import MAX_LENGTH, Undecided, compiled, holds
from relay.core.config.relay_toml import parse_config
from relay.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.service =", "it is not JMESPath: .*unexpected.*|it is not JMESPath: .* .character 14"),
        ("data.x == ", r"it is not JMESPath: it ends too early \(after character 10\)"),
        ("data.x ] 3", r'it is not JMESPath: "\]" is unexpected at character 8'),
        ("data.x = 3", "it is not JMESPath: .*character 8"),
        ("", "it is empty"),
        ("(" * 600 + "a" + ")" * 400, "nested too deeply"),
        ("!" * 100 + "a", "nested too deeply"),
        ("true && lower(data.x) == 'a'", r'there is no function "lower" \(character 9\); there are abs, avg, ceil'),
        ("to_string(@) == 'a'", 'there is no function "to_string"'),
        ("[data, data] == data", "of parts of the body is not available"),
        ("!data.x", r"write !\(a\.b\)"),
        ("!data.x && !data.y[?a]", r"write !\(a\.b\)"),
        ("{a: data}.a", "of parts of the body is not available"),
        ("contains(data.x)", r"contains\(\) takes 2 arguments, not 1"),
        ("data.parts[?type == 'link']", r"its result is a list, .*write length\(\.\.\.\) > `0`"),
        ("data.parts[*].value | @[]", "its result is a list, "),
        ("data.* ", "its result is a list, "),
        ("length(data.parts)", r"length\(\) yields a number, never true or false; compare it: length\(\.\.\.\) > `0`"),
        ("data.parts | keys(@)", r"keys\(\) yields a list, never true or false"),
        ("type(data.x)", r"type\(\) yields a text, never true or false"),
        ("'SPRING'", "its result is always the same"),
        ("`true`", "its result is always the same"),
        ("a" * (MAX_LENGTH + 1), "at most 1024 are allowed"),
    ],
)
def test_mistake_is_named_with_its_position(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compiled(text)


BODY = {"event_type": "message.received", "data": {"service": "SMS", "parts": [{"type": "text", "value": "Order 7"}]}}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("data.service == 'SMS' && starts_with(event_type, 'message.')", True),
        ("length(data.parts[?type == 'text' && contains(value, 'Order')]) > `0`", True),
        ("contains(['SMS', 'RCS'], data.service)", True),
        ("data.parts == `[]`", False),
        ("data.missing", False),
        ("data.missing > `3`", False),
        ("!(data.missing)", True),
        ("max_by(data.parts, &length(value)).type == 'text'", True),
        ("not_null(data.missing, data.service) == 'SMS'", True),
        ("data.service", "it yields a text, not true or false"),
        ("data.parts[?type == 'text'] | [0].value", "it yields a text, not true or false"),
        ("data.parts", "it yields a list, not true or false"),
        ("length(data.missing) > `0`", r"length() needs string or array or object and gets null"),
        ("data.service > `3`", "it fails with TypeError"),
        ("data == data.parts[0]", "it compares two lists or objects of the body"),
        ("contains(data.parts, data.parts[0])", "contains() looks for a list or an object"),
    ],
)
def test_result_of_an_expression(text: str, result: bool | str) -> None:  # noqa: FBT001
    try:
        found: bool | str = holds(compiled(text), BODY)
    except Undecided as undecided:
        found = str(undecided)
    assert found == result


def test_body_that_is_no_json_holds_nothing() -> None:
    assert not holds(compiled("data.service == 'SMS'"), None)


def nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = [leaf]
    return leaf


MANY = 100_000
WORST = {
    "data": {
        "numbers": list(range(MANY)),
        "text": "a" * (10 * MANY),
        "lists": [[n] for n in range(MANY)],
        "deep": nested(900, 1),
    }
}


@pytest.mark.parametrize(
    "text",
    [
        "||".join(["data.numbers[?@ < `0`][]"] * 35),
        "||".join(["contains(data.numbers, 'x')"] * 30),
        "||".join([f"contains(data.text, '{'a' * 20}b')"] * 20),
        "data.lists" + "[]" * 20,
        "data.numbers[?" + "`[1,1]`[?" * 30 + "@" + "]" * 31,
        "||".join(["sum(data.numbers) < `0`"] * 30),
        "||".join(["data.deep == `[[1]]`"] * 40),
        "||".join(["data.numbers[::9]"] * 50),
        "data.numbers[?type(@) == 'x' && max(`[1,2,3,4,5,6,7]`) == @]",
        "data.lists[*][0] | [?" + " && ".join(["@ >= `0`"] * 60) + "]",
    ],
)
def test_worst_expressions_end_soon(text: str) -> None:
    program = compiled(f"({text}) && `false`")
    began = time.process_time()
    try:
        assert not holds(program, WORST)
    except Undecided as undecided:
        assert "steps" in str(undecided)  # noqa: PT017  either is fine
    assert time.process_time() - began < 1  # 10 ms, on a machine with nothing else to do


def test_mistake_in_relay_toml_has_its_line() -> None:
    text = '[[topics]]\nname = "t"\nevents = ["*"]\nwhere = "data.x ="\n'
    with pytest.raises(ConfigError) as raised:
        parse_config(text)
    [problem] = raised.value.problems
    assert str(problem) == "relay.toml:4 topics[0].where: it is not JMESPath: unknown token '=' (character 8)"


def test_account_without_accounts_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r'there is no account "live" \(there is no \[\[linq.accounts\]\] table\)'):
        parse_config('[[topics]]\nname = "t"\nevents = ["*"]\naccount = ["live"]\n')


def test_library_is_imported_only_with_an_expression() -> None:
    program = """
import sys
from relay.core.config.relay_toml import parse_config
rules = '[[topics]]\\nname = "t"\\nevents = ["*"]\\nsender = "+13035550188"\\nopt_out = true\\n'
parse_config(rules).index
import relay.linq.payloads.content
assert not any(name.partition(".")[0] == "jmespath" for name in sys.modules)
parse_config(rules + 'where = "data"')
assert "jmespath" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)  # noqa: S603
