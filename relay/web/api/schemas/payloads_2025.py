"""Models of the payloads of version 2025-01-01 that differ from those of 2026-02-03, which alone Linq's SDK knows.

They follow Linq's documents (https://docs.linqapp.com/guides/webhooks/events), and use the SDK's models for what both
versions have.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from linq.types.message_event_v2 import Part, ReplyTo
from linq.types.schemas_message_effect import SchemasMessageEffect
from linq.types.shared.chat_handle import ChatHandle
from linq.types.shared.service_type import ServiceType
from pydantic import BaseModel, Field


class MessageContent(BaseModel):
    """A message."""

    id: str
    """Message identifier"""
    parts: list[Part]
    """Message parts (text and/or media)"""
    effect: SchemasMessageEffect | None = None
    reply_to: ReplyTo | None = None
    is_delivered: bool | None = None
    is_read: bool | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    reconciled_at: datetime | None = None
    """When Linq recovered the message, if it was not delivered live"""


class MessageData(BaseModel):
    """Payload of message.sent, message.received, message.delivered and message.read."""

    chat_id: str
    """Chat identifier"""
    message: MessageContent
    is_from_me: bool
    """True if your line sent it"""
    from_: str | None = Field(None, alias="from")
    """Handle of the sender. Deprecated: use from_handle."""
    from_handle: ChatHandle | None = None
    """The sender"""
    recipient_phone: str | None = None
    """Your line, of a received message. Deprecated: use recipient_handle."""
    recipient_handle: ChatHandle | None = None
    """Your line, of a received message"""
    is_group: bool | None = None
    service: ServiceType | None = None
    preferred_service: Literal["iMessage", "SMS", "RCS", "auto"] | None = None
    idempotency_key: str | None = None
    received_at: datetime | None = None
    message_id: str | None = None
    """Message identifier, in message.delivered and message.read"""
    delivered_at: datetime | None = None
    """In message.delivered"""
    read_at: datetime | None = None
    """In message.read"""


DATA: dict[str, type[BaseModel]] = dict.fromkeys(
    ("message.sent", "message.received", "message.delivered", "message.read"), MessageData
)
"""The model of `data`, by event type."""

LATER = {"chat.created": "health_status"}
"""The field of `data` that only the newer version has, by event type."""
