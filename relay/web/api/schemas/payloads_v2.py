"""Models of the payloads of v2, which follow Linq's documents (https://docs.linqapp.com/v2/api).

Linq has no SDK for v2, and no document for `participant.*`. Only ids are required: v2 is an old API, and its samples
leave out fields now and then.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ParticipantHandle(BaseModel):
    """A member of a chat."""

    identifier: str
    """Phone number (E.164) or e-mail address"""
    display_name: str | None = None
    is_me: bool | None = None
    """True for your line"""
    id: str | None = None
    is_departed: bool | None = None


class Message(BaseModel):
    """Payload of message.sent and message.received."""

    id: str
    chat_id: str
    text: str | None = None
    sent_at: str | None = None
    """Such as `2026-09-14 03:15:01 -0600`"""
    is_read: bool | None = None
    from_phone: str | None = None
    """Handle of the sender"""
    service: str | None = None
    reaction_id: str | None = None
    replied_to_chat_message_id: str | None = None
    chat_handles: list[ParticipantHandle] | None = None
    attachments: list[Any] | None = None


class ReadMessage(BaseModel):
    """Payload of message.read."""

    id: str
    """The message"""
    chat_id: str
    read_at: str | None = None


class Call(BaseModel):
    """Payload of call.completed."""

    id: str
    to: str | None = None
    from_: str | None = Field(None, alias="from")
    status: str | None = None
    direction: Literal["inbound", "outbound"] | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration: int | None = None
    """Seconds"""
    call_type: str | None = None
    forwarded_from: str | None = None
    answered_by: str | None = None
    voicemail: bool | None = None
    has_recording: bool | None = None
    recording_data: Any = None


class Reactor(BaseModel):
    """The author of a reaction."""

    id: str
    identifier: str


class ReactedMessage(BaseModel):
    """The message of a reaction."""

    id: str
    text: str | None = None
    sent_at: str | None = None


class Reaction(BaseModel):
    """Payload of reaction.sent and reaction.received."""

    id: str
    chat_message_id: str
    chat_id: str
    reaction: str
    is_from_me: bool | None = None
    sent_at: str | None = None
    created_at: str | None = None
    chat_handle: Reactor | None = None
    chat_handles: list[ParticipantHandle] | None = None
    associated_message: ReactedMessage | None = None


class Typing(BaseModel):
    """Payload of typing_indicator.received and typing_indicator.removed."""

    chat_id: str
    display: bool | None = None
    timestamp: str | None = None
    chat_handles: list[ParticipantHandle] | None = None


class Chat(BaseModel):
    """Payload of chat.created."""

    chat_id: str
    service: str | None = None
    is_direct: bool | None = None
    is_group: bool | None = None
    display_name: str | None = None
    chat_handles: list[ParticipantHandle] | None = None
    created_at: str | None = None


class ContactOwner(BaseModel):
    """A member of your team."""

    id: int
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    name: str | None = None


class Contact(BaseModel):
    """Payload of contact.created and contact.updated."""

    id: int
    first_name: str | None = None
    last_name: str | None = None
    full_name: str | None = None
    email: str | None = None
    phone_number: str | None = None
    """The contact's, not your line"""
    company: str | None = None
    title: str | None = None
    location: str | None = None
    image_url: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    contact_owner: ContactOwner | None = None


class DeletedContact(BaseModel):
    """Payload of contact.deleted."""

    id: int


class WebhookEnvelope(BaseModel):
    """A webhook of v2."""

    api_version: Literal["v2"]
    event_type: str
    event_id: str
    """Unique identifier for this event (for deduplication)"""
    created_at: str
    """When the event was created, with the offset of a time zone"""
    data: dict[str, Any]


DATA: dict[str, type[BaseModel]] = {
    "message.sent": Message,
    "message.received": Message,
    "message.read": ReadMessage,
    "call.completed": Call,
    "reaction.sent": Reaction,
    "reaction.received": Reaction,
    "typing_indicator.received": Typing,
    "typing_indicator.removed": Typing,
    "chat.created": Chat,
    "contact.created": Contact,
    "contact.updated": Contact,
    "contact.deleted": DeletedContact,
}
"""The model of `data`, by event type."""
