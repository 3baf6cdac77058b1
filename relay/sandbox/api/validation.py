"""Validation of each field of the v3 API; an invalid value raises one of Linq's errors.

Linq publishes codes for missing fields (1001) and numbers that are not E.164 (1002); 1005 for everything else is our
choice (https://docs.linqapp.com/error/codes/).
"""

from __future__ import annotations

import ipaddress
import re

from pydantic import HttpUrl, TypeAdapter, ValidationError

from relay.core.lines import is_line
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.signatures import standard, v3_legacy
from relay.sandbox.api.v3_errors import invalid, missing_field, not_e164

_TARGET = TypeAdapter(HttpUrl)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # a token of RFC 9110
_OWN_HEADERS = frozenset(
    name.lower()
    for name in (
        *(standard.ID, standard.TIMESTAMP, standard.SIGNATURE),
        *(v3_legacy.EVENT, v3_legacy.SUBSCRIPTION_ID, v3_legacy.TIMESTAMP, v3_legacy.SIGNATURE),
        *("Content-Type", "Content-Length", "Host", "Transfer-Encoding", "Connection"),
    )
)


def target_url(url: object, *, allow_local: bool, field: str = "target_url") -> str:
    """Return an https URL of a public host; with `allow_local` also plain http and private addresses."""
    try:
        target = _TARGET.validate_python(url)
    except ValidationError:
        raise invalid(f"{field} must be a valid HTTPS URL") from None
    if target.scheme != "https" and not allow_local:
        raise invalid(f"{field} must be a valid HTTPS URL")
    if not allow_local and _is_private(str(target.host).strip("[]")):
        raise invalid(f"{field} must not point to a private address")
    return str(url)


def events(value: object) -> list[str]:
    """Return known event types without duplicates."""
    if value in (None, []):
        raise missing_field("subscribed_events")
    if not isinstance(value, list) or not all(isinstance(event, str) for event in value):
        raise invalid("subscribed_events must be a list of event types")
    if unknown := [event for event in value if event not in KNOWN_EVENT_TYPES]:
        raise invalid(f"Unknown event type: {unknown[0]}")
    return list(dict.fromkeys(value))


def phone_numbers(value: object) -> list[str]:
    """Return numbers in E.164; none for null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid("phone_numbers must be a list")
    for number in value:
        if not is_line(number):
            raise not_e164()
    return value


def forwarding_number(value: object) -> str | None:
    """Return a number in E.164; None for null and an empty string."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not is_line(value):
        raise not_e164()
    return value


def header_name(value: object, field: str) -> str | None:
    """Return the name of a header that deliveries do not have yet; None for null and an empty string."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _HEADER_NAME.fullmatch(value):
        raise invalid(f"{field} must be the name of an HTTP header")
    if value.lower() in _OWN_HEADERS:
        raise invalid(f"{field} must not be a header that every delivery has: {value}")
    return value


def flag(value: object, field: str) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise invalid(f"{field} must be a boolean")
    return value


def _is_private(host: str) -> bool:
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
