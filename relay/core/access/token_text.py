"""The text of a token: `lrt_<id>_<secret><checksum>`, which scanners of secrets find and can tell from a lookalike.

    lrt_    12 letters and digits   _   32 letters and digits   6 letters and digits
            the id, no secret           the secret              CRC-32 of `<id>_<secret>`, base 62

The relay stores a digest of the secret only. Its 190 random bits cannot be guessed, so a digest without salt and
stretching is enough.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from string import ascii_letters, digits
from zlib import crc32

PATTERN = r"lrt_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}"
"""The pattern of tokens, for scanners of secrets."""

_ALPHABET = digits + ascii_letters[26:] + ascii_letters[:26]
_ID, _SECRET, _CHECKSUM = 12, 32, 6
_FORM = re.compile(
    rf"lrt_(?P<id>[0-9A-Za-z]{{{_ID}}})_(?P<secret>[0-9A-Za-z]{{{_SECRET}}})(?P<crc>[0-9A-Za-z]{{{_CHECKSUM}}})"
)


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token's id and secret; its repr hides the secret."""

    id: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return f"lrt_{self.id}_{self.secret}{_checksum(self.id, self.secret)}"

    @property
    def digest(self) -> str:
        """SHA-256 of the secret in hexadecimal, which is what is stored."""
        return sha256(self.secret.encode()).hexdigest()


def new_token(token_id: str | None = None) -> TokenText:
    """Return a token with a new secret, and a new id unless it has one."""
    return TokenText(token_id or _random(_ID), _random(_SECRET))


def parse_token(text: str) -> TokenText | None:
    """Return the parts of a token; None if `text` is none, or was mistyped or cut."""
    found = _FORM.fullmatch(text)
    if found is None or found["crc"] != _checksum(found["id"], found["secret"]):
        return None
    return TokenText(found["id"], found["secret"])


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(token_id: str, secret: str) -> str:
    number, written = crc32(f"{token_id}_{secret}".encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        written = _ALPHABET[digit] + written
    return written
