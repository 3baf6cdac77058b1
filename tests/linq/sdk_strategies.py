"""Any payload that the models of Linq's SDK allow: a strategy for each event type, with and without optional fields."""

from __future__ import annotations

import types
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel

from tests.linq.sdk_payloads import class_of

Body = dict[str, Any]

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
_TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)).map(  # noqa: DTZ001  in UTC, as the text says
    lambda at: f"{at.isoformat()}Z"
)
_NEW = st.dictionaries(st.sampled_from(["new_fact", "newer_fact"]), _TEXTS, max_size=1)


@cache
def bodies(event_type: str, version: str) -> st.SearchStrategy[Body]:
    """Return a strategy for whole bodies of a type; `data` may have a field that no model has."""

    def completed(body: Body, more: Body) -> Body:
        named = {"event_type": event_type, "webhook_version": version}
        return {**body, **named, "data": {**more, **body["data"]}}

    return st.builds(completed, _object(class_of(event_type)), _NEW)


def _object(model: type[BaseModel]) -> st.SearchStrategy[Body]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    required = {name: _value(field.annotation) for name, field in fields.items() if field.is_required()}
    optional = {name: _value(field.annotation) for name, field in fields.items() if not field.is_required()}
    return st.fixed_dictionaries(required, optional=optional)


def _value(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911  a table of types
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0])
    if origin in {Union, types.UnionType}:
        return st.one_of(*map(_value, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(_value(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(_TEXTS, _value(arguments[1]), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _object(annotation)
    known = {bool: st.booleans(), datetime: _TIMES, int: st.integers(0, 2**70), float: st.integers(0, 9), str: _TEXTS}
    return known.get(annotation, st.none() if annotation is type(None) else _TEXTS)
