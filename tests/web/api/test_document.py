"""The OpenAPI document of all operations, as a program that generates a client reads it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from relay.web.api.openapi import document_text
from relay.web.api.operations import OPERATIONS
from relay.web.api.reference.page import page_text

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def document() -> dict[str, Any]:
    """Return the document; when a test runs, not when each process of the suite collects."""
    found: dict[str, Any] = json.loads(document_text(OPERATIONS))
    return found


def parts() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield each parameter and each field: its name, what describes it, and its schema."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                yield f"{method} {path} {parameter['name']}", parameter, parameter["schema"]
    for name, model in document()["components"]["schemas"].items():
        for field, schema in model.get("properties", {}).items():
            yield f"{name}.{field}", schema, schema


def test_every_model_field_and_parameter_is_described() -> None:
    models = document()["components"]["schemas"]
    assert [name for name, model in models.items() if not model.get("description")] == []
    assert [name for name, described, _ in parts() if not described.get("description")] == []
    assert [name for name, described, _ in parts() if "\n" in described["description"]] == []


def test_no_reference_leads_nowhere() -> None:
    found = set(re.findall(r'"#/components/(\w+)/(\w+)"', document_text(OPERATIONS)))
    assert [(kind, name) for kind, name in found if name not in document()["components"][kind]] == []


def test_defaults_and_examples_are_what_a_request_may_have() -> None:
    wrong = []
    for name, _, schema in parts():
        resolvable = {**schema, "components": document()["components"]}
        given = [schema["default"]] if "default" in schema else []
        for value in given + schema.get("examples", []):
            wrong += [f"{name}: {error.message}" for error in Draft202012Validator(resolvable).iter_errors(value)]
    assert wrong == []


def test_page_shows_the_defaults() -> None:
    assert "; &#34;1m&#34; if left out" in page_text(OPERATIONS)
