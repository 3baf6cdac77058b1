"""Messages about wrong values: in plain words, whatever the field, in the API as in relay.toml."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ValidationError

from relay.core.config.checks.mistakes import JSON, TOML, Words, message_of
from relay.core.config.relay_toml import RelayConfig
from relay.web.api.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

WRONG: tuple[Any, ...] = (None, "", "?", "x" * 5000, -1, 1.5, 10**30, float("inf"), True, [], ["?"], [7], {}, {"a": 1})
PYDANTIC = re.compile(r"Input should|should (be|have|match)|Field required|Value error|valid \w+,")


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models within an annotation, with those of their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_of(field.annotation)
    for argument in getattr(annotation, "__args__", ()):
        yield from models_of(argument)


INPUTS = {model for operation in OPERATIONS for model in operation.inputs.values()}
TABLES = set(models_of(RelayConfig))


@pytest.mark.parametrize(("models", "words"), [(INPUTS, JSON), (TABLES, TOML)], ids=["api", "relay.toml"])
def test_no_message_has_the_words_of_pydantic(models: set[type[BaseModel]], words: Words) -> None:
    messages = set()
    for model in models:
        for name, field in model.model_fields.items():
            for value in WRONG:
                row = {field.alias or name: value, "no-such-field": 1}
                try:
                    model.model_validate_json(json.dumps(row), strict=words is JSON)
                except ValidationError as error:
                    messages |= {message_of(detail, words) for detail in error.errors()}
    assert len(messages) > 20
    assert [message for message in messages if PYDANTIC.search(message)] == []
