"""The shard key of a webhook, read from its body (`core.sharding.placement`).

`payload_fields` finds the same chat, but grows with Linq's events. This reading is fixed: a copy of an event that
comes while an older release still runs, or after an upgrade, must get the same key.

The ingress reads the head and these fields at once, into a dict: that takes no longer than the head alone into a model.
So it does so with one shard too, where no key is made of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, GetPydanticSchema, StrictInt, StrictStr, ValidationError
from pydantic_core import SchemaValidator, core_schema

from relay.core.event import Dialect
from relay.core.json_text import storable
from relay.core.sharding.placement import ShardKey
from relay.linq.payloads.envelope import SAFE, Head, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import CoreSchema

    from relay.core.event import VerifiedWebhook

# A field of another type than expected counts as absent: no event is refused for it.
_Lenient = GetPydanticSchema(
    lambda value, of: core_schema.with_default_schema(of(value), default=None, on_error="default")
)
_Text = Annotated[StrictStr | None, _Lenient]


class _Chat(BaseModel):
    id: _Text = None


class _Data(BaseModel):
    chat: Annotated[_Chat | None, _Lenient] = None
    chat_id: Annotated[StrictStr | StrictInt | None, _Lenient] = None
    id: _Text = None
    phone_number: _Text = None


class _KeyedHead(Head):
    data: Annotated[_Data | None, _Lenient] = None


def _quick() -> SchemaValidator:
    """Return the same reading as `_KeyedHead`, into a dict without what is absent; it has no good errors."""

    def lenient(schema: CoreSchema) -> Any:
        return core_schema.typed_dict_field(core_schema.with_default_schema(schema, on_error="omit"), required=False)

    text, token = (
        core_schema.str_schema(strict=True),
        core_schema.typed_dict_field(core_schema.str_schema(pattern=SAFE)),
    )
    data = {
        "chat": lenient(core_schema.typed_dict_schema({"id": lenient(text)})),
        "chat_id": lenient(core_schema.union_schema([text, core_schema.int_schema(strict=True)])),
        "id": lenient(text),
        "phone_number": lenient(text),
    }
    return SchemaValidator(
        core_schema.typed_dict_schema(
            {
                "event_id": token,
                "event_type": token,
                "trace_id": lenient(core_schema.str_schema()),
                "data": lenient(core_schema.typed_dict_schema(data)),
            }
        )
    )


_QUICK = _quick()


class KeyedHead(NamedTuple):
    """The fields of an envelope that the ingress needs."""

    event_id: str
    event_type: str
    trace_id: str | None
    data: Mapping[str, Any] | None
    """The fields of the payload that name its shard."""


def read_head(body: bytes) -> KeyedHead:
    """Parse the fields in `body` that the ingress needs.

    Raises:
        Unparsable: `body` is not a JSON object with an event id and type.
    """
    try:
        found = _QUICK.validate_json(body)
    except ValidationError:
        found = read(_KeyedHead, body).model_dump()  # its parser accepts more and has the better error
    return KeyedHead(found["event_id"], found["event_type"], found.get("trace_id"), found.get("data"))


def shard_key_in(dialect: Dialect, body: bytes) -> ShardKey:
    """Read the shard key of the event in `body`.

    Raises:
        Unparsable: `body` is not an envelope.
    """
    head = read_head(body)
    return _key(dialect, head.event_id, head.event_type, head.data)


def shard_key_of(webhook: VerifiedWebhook) -> ShardKey:
    """Return the shard key of a webhook."""
    if webhook.keyed is None:
        return shard_key_in(webhook.dialect, webhook.body)
    return _key(webhook.dialect, webhook.id, webhook.type, webhook.keyed)


def _key(dialect: Dialect, event_id: str, event_type: str, data: Mapping[str, Any] | None) -> ShardKey:
    if data is None:
        return ShardKey(event_id)
    chat = _chat_of_v2(data) if dialect is Dialect.V2 else _chat_of_v3(event_type, data)
    return ShardKey(event_id, chat, _usable(data.get("phone_number")))


def _chat_of_v3(event_type: str, data: Mapping[str, Any]) -> str | None:
    chat = data.get("chat")
    in_chat = None if chat is None else _usable(chat.get("id"))
    return in_chat or _usable(data.get("id" if event_type == "chat.created" else "chat_id"))


def _chat_of_v2(data: Mapping[str, Any]) -> str | None:
    """Return the id of a chat of v2: digits in events, a number in the API's responses."""
    chat = data.get("chat_id")
    return str(chat) if isinstance(chat, int) and 0 <= chat < 2**63 else _usable(chat)


def _usable(value: object) -> str | None:
    return storable(value) or None
