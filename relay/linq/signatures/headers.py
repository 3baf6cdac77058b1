"""Strict parsing of signature headers: an invalid value is a bad signature, never an internal error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay.core.errors import BadSignature

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 300
"""Maximum seconds between a signed timestamp and now: five minutes, as in Linq's documentation and in Standard Webhooks
(https://docs.linqapp.com/guides/webhooks).
"""

_MAX_TIMESTAMP = 12  # digits of a Unix time in seconds; more cannot be within the tolerance


class Headers(Protocol):
    """A case-insensitive multi-dict of header values, such as aiohttp's."""

    def getall(self, key: str, default: tuple[()], /) -> Sequence[str]:
        """Return every value of the header `key`."""

    def __contains__(self, key: object, /) -> bool:
        """Return True if the header `key` is present."""


def single(headers: Headers, name: str) -> str:
    """Return the value of the header `name`, which must be present once, not empty and ASCII.

    Raises:
        BadSignature: it is not.
    """
    values = headers.getall(name, ())
    if len(values) != 1:
        raise BadSignature(f"the header {name} is {'repeated' if values else 'missing'}")
    value = values[0]
    if not value or not value.isascii():
        raise BadSignature(f"the header {name} is {'not ASCII' if value else 'empty'}")
    return value


def fresh_timestamp(headers: Headers, name: str, now: float) -> str:
    """Return the header `name`, Unix seconds within five minutes of `now`, in the digits that were signed.

    Raises:
        BadSignature: it is not a number, too old or too new.
    """
    text = single(headers, name)
    if not text.isdigit() or len(text) > _MAX_TIMESTAMP:
        raise BadSignature(f"the header {name} is not a Unix time in seconds")
    if abs(now - int(text)) > TOLERANCE:
        raise BadSignature(f"the header {name} is more than {TOLERANCE} seconds off; check the clock of this machine")
    return text
