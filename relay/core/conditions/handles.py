"""Handles: the phone number or the e-mail address of a person in a conversation.

A phone number is written in E.164; an e-mail address is compared in lower case.
"""

from __future__ import annotations

from relay.core.lines import is_line, line_meant_by

_MAX = 254  # characters of an e-mail address (RFC 5321)


def normalised_handle(text: str) -> str:
    """Return a handle in the form in which it is compared: E.164, or an e-mail address in lower case.

    Raises:
        ValueError: it is neither.
    """
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if at and local and domain and len(text) <= _MAX and not any(map(str.isspace, text)) and '"' not in text:
        return text.lower()
    if is_line(text):
        return text
    if meant := line_meant_by(text):
        return meant
    raise ValueError(
        f'"{text}" is neither a phone number with its country code, such as +13035550188, nor an e-mail address'
    )


def is_email(handle: str) -> bool:
    """Return True if a normalised handle is an e-mail address."""
    return "@" in handle
