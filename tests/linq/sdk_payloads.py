"""Payloads generated from Linq's SDK types: each field is filled by its type, each number by the side it belongs to.

A `Scene` sets the acting side, whether optional fields are present and whether handles have `is_me`. The result
is an instance of the SDK's own class, so a shape that Linq changes fails a test with the next SDK.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from linq.types.shared.chat_handle import ChatHandle
from linq.types.webhook_event_type import WebhookEventType
from pydantic import BaseModel

from tests.building import CUSTOMER, LINE

NO_CLASS = frozenset(event_type for event_type in get_args(WebhookEventType) if event_type.startswith("call."))
"""Event types for which the SDK has no class."""

EVENT_TYPES = [event_type for event_type in get_args(WebhookEventType) if event_type not in NO_CLASS]

_OF_THE_LINE = {"owner_handle", "shared_with", "phone_number"}
_OF_THE_ACTOR = {"from", "sender_handle", "participant", "changed_by_handle", "actor_handle", "from_handle"}
_OF_THE_CUSTOMER = {"handle", "shared_by", "creator_handle"}


@dataclass(frozen=True)
class Scene:
    """The circumstances of an event."""

    ours: bool
    """True if the line acts (sends, reacts, joins, renames), False if a customer does."""
    full: bool = True
    """True if optional fields are filled, False if they are absent."""
    marked: bool = True
    """True if handles have `is_me`."""

    def __str__(self) -> str:
        actor = "ours" if self.ours else "theirs"
        return f"{actor}, {'full' if self.full else 'sparse'}, {'marked' if self.marked else 'unmarked'}"


SCENES = [Scene(ours, full, marked) for ours in (True, False) for full in (True, False) for marked in (True, False)]


def class_of(event_type: str) -> type[BaseModel]:
    """Return the SDK's class for webhooks of this event type."""
    module = import_module(f"linq.types.{event_type.replace('.', '_')}_webhook_event")
    found: type[BaseModel] = next(getattr(module, name) for name in module.__all__ if name.endswith("WebhookEvent"))
    return found


def instance_of(event_type: str, scene: Scene) -> BaseModel:
    """Return a valid webhook of this type."""
    model = class_of(event_type)
    return model.model_validate({**_object(model, event_type, scene), "event_type": event_type})


def _object(model: type[BaseModel], event_type: str, scene: Scene) -> dict[str, Any]:
    return {
        field.alias or name: _value(field.annotation, field.alias or name, event_type, scene)
        for name, field in model.model_fields.items()
        if scene.full or field.is_required()
    }


def _value(annotation: Any, name: str, event_type: str, scene: Scene) -> Any:  # noqa: PLR0911, C901  a table of types
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0], name, event_type, scene)
    if origin in {Union, types.UnionType}:
        return _value(arguments[0], name, event_type, scene)
    if origin is Literal:
        return {"direction": "outbound" if scene.ours else "inbound"}.get(name, arguments[0])
    if origin is list:
        if arguments[0] is ChatHandle:
            return [_handle(CUSTOMER, scene), _handle(LINE, scene)]
        return [_value(arguments[0], name, event_type, scene)]
    if origin is dict:
        return {name: CUSTOMER}
    if annotation is ChatHandle:
        return _handle(_number(name, event_type, scene), scene)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _object(annotation, event_type, scene)
    if annotation is bool:
        return scene.ours if name == "is_from_me" else True
    if annotation is datetime:
        return "2026-09-14T09:15:02.417203Z"
    if annotation in {int, float}:
        return 1
    return _number(name, event_type, scene)


def _number(name: str, event_type: str, scene: Scene) -> str:
    """Return the number in the field `name`, or text made from the name if the field has no number."""
    if name in _OF_THE_LINE or (event_type == "poll.updated" and name == "sender_handle"):
        return LINE  # poll.updated: "Your line -- the one that received or sent this update"
    if event_type == "contact_card.received" and name == "sender_handle":
        return CUSTOMER
    if name in _OF_THE_ACTOR or (name == "handle" and event_type.startswith("participant.")):
        return LINE if scene.ours else CUSTOMER
    if name in _OF_THE_CUSTOMER or name == "to":
        return CUSTOMER
    return f"{name}-1"


def _handle(number: str, scene: Scene) -> dict[str, Any]:
    handle = {"id": f"handle of {number}", "handle": number, "joined_at": "2026-08-30T14:02:11Z", "service": "iMessage"}
    return {**handle, "is_me": number == LINE} if scene.marked else handle
