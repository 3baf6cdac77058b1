from __future__ import annotations

import re

import pytest

from relay.core import errors
from relay.core.errors import BadSignature, ConfigError, Problem, RelayError, SettingsError, SeveralProblems

TREE = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RelayError)
]  # fmt: skip


def test_problem_names_its_place() -> None:
    assert str(Problem("relay.toml:3 topics[0].name", "is missing")) == "relay.toml:3 topics[0].name: is missing"


def test_problems_are_reported_together() -> None:
    error = ConfigError("relay.toml cannot be used:", (Problem("a", "one"), Problem("b", "two")))
    assert str(error) == "relay.toml cannot be used:\n  a: one\n  b: two"
    assert error.problems == (Problem("a", "one"), Problem("b", "two"))


@pytest.mark.parametrize("kind", [SettingsError, ConfigError])
def test_settings_and_config_errors_have_one_format(kind: type[SeveralProblems]) -> None:
    assert issubclass(kind, RelayError)
    assert str(kind("Heading:", (Problem("X", "y"),))) == "Heading:\n  X: y"


def test_bad_signature_knows_if_another_secret_could_help() -> None:
    assert not BadSignature("repeated").another_secret_could_help
    assert BadSignature("wrong", another_secret_could_help=True).another_secret_could_help


def test_error_codes_are_unique() -> None:
    codes = [kind.code for kind in TREE if kind is not SeveralProblems]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z_0-9]+", code) for code in codes)


def test_every_error_is_in_the_docstring_tree() -> None:
    drawn = re.findall(r"^[ │├└─]*([A-Z]\w+)\b", errors.__doc__ or "", re.MULTILINE)
    assert [kind.__name__ for kind in TREE if kind is not SeveralProblems] == drawn[-len(TREE) + 1 :]
