"""Signing secrets: `whsec_` and the base64 of random bytes, as Linq and Standard Webhooks write them.

One secret gives two keys (https://docs.linqapp.com/guides/webhooks, reference in the README): the Standard family signs
with the decoded bytes, Linq's older headers with the UTF-8 bytes of the whole string, prefix included.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from functools import cached_property

PREFIX = "whsec_"
_RANDOM_BYTES = 32


@dataclass(frozen=True)
class SigningSecret:
    """One shared secret; never shows itself in a repr or a log."""

    text: str

    def __repr__(self) -> str:
        return "SigningSecret(***)"

    @cached_property
    def whole(self) -> bytes:
        """The key of the older headers: the string as it is."""
        return self.text.encode()

    @cached_property
    def decoded(self) -> bytes | None:
        """The key of the Standard headers; None for a string that is not base64, as Linq may once have issued."""
        encoded = self.text.removeprefix(PREFIX)
        try:
            return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True) or None
        except (binascii.Error, ValueError):
            return None


def new_secret() -> str:
    """A new signing secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()


def new_key() -> str:
    """A new RELAY_SECRET_KEY."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()


def normal_key(text: str) -> str:
    """`text` as the urlsafe base64 of 32 bytes; the standard alphabet and a `whsec_` in front are taken as well.

    Raises:
        ValueError: it is not 32 bytes in base64.
    """
    encoded = text.strip().removeprefix(PREFIX).replace("+", "-").replace("/", "_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _RANDOM_BYTES:
        raise ValueError("not the urlsafe base64 of 32 bytes; `relay secret generate --for relay` makes one")
    return base64.urlsafe_b64encode(key).decode()


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where relay.toml says that a value is that need not stand there: `env:NAME`, `file:PATH`, or the value itself."""

    source: str
    """`env`, `file` or `literal`."""
    value: str

    @classmethod
    def parse(cls, text: str) -> SecretReference:
        """The reference to a signing secret that `text` spells.

        Raises:
            ValueError: it is none of the three forms.
        """
        source, _, value = text.partition(":")
        if source in {"env", "file"} and value:
            return cls(source, value)
        if text.startswith(PREFIX) and len(text) > len(PREFIX):
            return cls("literal", text)
        raise ValueError('a secret is written "env:NAME", "file:PATH" or "whsec_..." (relay secret generate makes one)')

    @classmethod
    def of_value(cls, text: str) -> SecretReference:
        """The reference to any other value, which may stand there as it is.

        Raises:
            ValueError: it begins like a reference, and nothing follows.
        """
        source, _, value = text.partition(":")
        if source not in {"env", "file"}:
            return cls("literal", text)
        if not value:
            raise ValueError(f'"{text}" names nothing; write "env:NAME", "file:PATH" or the value itself')
        return cls(source, value)

    @classmethod
    def of_file(cls, path: str) -> SecretReference:
        """The reference to a whole file."""
        return cls("file", path)

    def __repr__(self) -> str:
        return (
            "SecretReference(literal)" if self.source == "literal" else f"SecretReference({self.source}:{self.value})"
        )
