"""Envelope of a webhook: v3 of both payload versions, and v2.

Only the event's id and type are required, in characters that are allowed in a header. Every other field is ignored if
it has another type than expected, since Linq adds and changes fields often and no event must be refused for that.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, ValidationError
from pydantic_core import core_schema

from relay.core.errors import Unparsable
from relay.core.event import Dialect
from relay.core.json_text import parse_json, storable

OLDEST_V3 = "2025-01-01"
"""Version of a v3 envelope without `webhook_version`: senders before 2026-02-03 did not write the field."""

Model = TypeVar("Model", bound="Head")
SAFE = r"^[\x21-\x7e]{1,256}$"
"""The pattern of an event's id and type: they are allowed in a header."""
Token = Annotated[str, Field(pattern=SAFE)]
# Nearly as `Text`, without a call of Python, since the ingress reads it for each webhook: lone surrogates are left in.
QuickText = Annotated[
    str | None,
    GetPydanticSchema(lambda text, of: core_schema.with_default_schema(of(text), default=None, on_error="default")),
]
# Functions of Python for what the slow parser returns only: they took a third of the time of an envelope.
Text = Annotated[
    str | None,
    GetPydanticSchema(
        lambda text, of: core_schema.json_or_python_schema(
            core_schema.with_default_schema(of(text), default=None, on_error="default"),
            core_schema.no_info_before_validator_function(storable, of(text)),
        )
    ),
]
Object = Annotated[
    dict[str, Any],
    GetPydanticSchema(
        lambda mapping, of: core_schema.with_default_schema(of(mapping), default_factory=dict, on_error="default")
    ),
]


class Head(BaseModel):
    """Fields of an envelope that every event has (`shard_key.read_head`)."""

    model_config = ConfigDict(frozen=True)

    event_id: Token
    event_type: Token
    trace_id: QuickText = None


class Envelope(Head):
    """Fields of an envelope that the router needs."""

    webhook_version: Text = None
    created_at: Text = None
    trace_id: Text = None
    partner_id: Text = None
    data: Object = Field(default_factory=dict)

    def version(self, dialect: Dialect) -> str:
        """Return the payload's version: `v2`, or the v3 `webhook_version`."""
        return "v2" if dialect is Dialect.V2 else self.webhook_version or OLDEST_V3


def read_envelope(body: bytes) -> Envelope:
    """Parse the whole envelope in `body`.

    Raises:
        Unparsable: as for `read`.
    """
    return read(Envelope, body)


def read(model: type[Model], body: bytes) -> Model:
    """Parse the fields of `model` in `body`.

    Raises:
        Unparsable: `body` is not a JSON object with an event id and type.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError:
        pass  # the slow parser below accepts more and has the better error
    try:
        return model.model_validate(parse_json(body))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"])) or "the body"
        raise Unparsable(f"{where}: {detail['msg']}") from None
    except ValueError as error:
        raise Unparsable(f"the body is not JSON: {error}") from None
