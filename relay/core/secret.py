"""Signing secrets: `whsec_` and the base64 of random bytes, the form of Linq and Standard Webhooks.

One secret gives two keys (https://docs.linqapp.com/guides/webhooks): the Standard Webhooks headers are signed with the
decoded bytes, Linq's older headers with the UTF-8 bytes of the whole string, including the prefix.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

PREFIX = "whsec_"
_RANDOM_BYTES = 32
_BLOCK = 64  # bytes of SHA-256
_INNER, _OUTER = (bytes(byte ^ mask for byte in range(256)) for mask in (0x36, 0x5C))


class HmacKey:
    """A key of HMAC-SHA256 (RFC 2104) whose blocks are hashed once.

    A signature of 1 kB takes 1.5 us instead of the 2.7 of `hmac.digest`; each push makes two, each webhook one.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner, self._outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def digest(self, start: bytes, body: bytes) -> bytes:
        """Return the code of `start` and `body` together."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(start)
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True)
class SigningSecret:
    """Shared secret; its repr hides it."""

    text: str

    def __repr__(self) -> str:
        return "SigningSecret(***)"

    @cached_property
    def whole(self) -> bytes:
        """Key of the older headers: the bytes of the whole string."""
        return self.text.encode()

    @cached_property
    def decoded(self) -> bytes | None:
        """Key of the Standard Webhooks headers; None if the string is not base64, as old secrets of Linq may be."""
        encoded = self.text.removeprefix(PREFIX)
        try:
            return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True) or None
        except (binascii.Error, ValueError):
            return None

    @cached_property
    def whole_key(self) -> HmacKey:
        """`whole`, ready to sign."""
        return HmacKey(self.whole)

    @cached_property
    def decoded_key(self) -> HmacKey | None:
        """`decoded`, ready to sign."""
        return HmacKey(self.decoded) if self.decoded else None


def new_secret() -> str:
    """Generate a signing secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()


def new_key() -> str:
    """Generate a RELAY_SECRET_KEY."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()


def normal_key(text: str) -> str:
    """Normalize `text` to the urlsafe base64 of 32 bytes; the standard alphabet and a `whsec_` prefix are accepted.

    Raises:
        ValueError: it is not 32 bytes in base64.
    """
    encoded = text.strip().removeprefix(PREFIX).replace("+", "-").replace("/", "_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _RANDOM_BYTES:
        raise ValueError("not the urlsafe base64 of 32 bytes; make one with `relay secret generate --for relay`")
    return base64.urlsafe_b64encode(key).decode()


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Reference to a value in relay.toml: `env:NAME`, `file:PATH`, or the value itself."""

    source: str
    """`env`, `file` or `literal`."""
    value: str

    @classmethod
    def parse(cls, text: str) -> SecretReference:
        """Parse a reference to a signing secret.

        Raises:
            ValueError: it has none of the three forms.
        """
        source, _, value = text.partition(":")
        if source in {"env", "file"} and value:
            return cls(source, value)
        if text.startswith(PREFIX) and len(text) > len(PREFIX):
            return cls("literal", text)
        raise ValueError(
            'write the secret as "env:NAME", "file:PATH" or "whsec_..." (make one with `relay secret generate`)'
        )

    @classmethod
    def of_value(cls, text: str) -> SecretReference:
        """Parse a reference to any other value, or the value itself.

        Raises:
            ValueError: it has the prefix of a reference, and nothing after it.
        """
        source, _, value = text.partition(":")
        if source not in {"env", "file"}:
            return cls("literal", text)
        if not value:
            raise ValueError(f'"{text}" is incomplete; write "env:NAME", "file:PATH" or the value itself')
        return cls(source, value)

    @classmethod
    def of_file(cls, path: str) -> SecretReference:
        """Return the reference to the whole content of a file."""
        return cls("file", path)

    def __repr__(self) -> str:
        return (
            "SecretReference(literal)" if self.source == "literal" else f"SecretReference({self.source}:{self.value})"
        )
