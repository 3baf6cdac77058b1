"""The models of Linq's SDK for webhooks."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, get_args

from linq.types.webhook_event_type import WebhookEventType

if TYPE_CHECKING:
    from pydantic import BaseModel

EVENT_TYPES: tuple[str, ...] = get_args(WebhookEventType)
"""Event types of v3, in the order of the SDK."""


def sdk_version() -> str:
    """Return the name and the version of the SDK that is installed."""
    return f"linq-python {version('linq-python')}"


def model_of(event_type: str) -> type[BaseModel] | None:
    """Return the SDK's model of a webhook of this type, in its newest version; None if the SDK has none."""
    name = f"linq.types.{event_type.replace('.', '_')}_webhook_event"
    if find_spec(name) is None:
        return None
    module = import_module(name)
    found: type[BaseModel] = next(getattr(module, each) for each in module.__all__ if each.endswith("WebhookEvent"))
    return found
