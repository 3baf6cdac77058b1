"""Encryption: secrets are stored in Redis encrypted and authenticated (Fernet), under RELAY_SECRET_KEY.

Old keys (RELAY_SECRET_KEY_OLD) still decrypt the secrets that they encrypted; the next `relay bootstrap apply` encrypts
these again with the new key.
"""

from __future__ import annotations

import hmac
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from relay.core.errors import StoreError
from relay.core.lazy_modules import LazyModule
from relay.core.secret import SigningSecret, normal_key

if TYPE_CHECKING:
    from cryptography import fernet
else:
    fernet = LazyModule("cryptography.fernet")  # 8 MB; workers seldom have stored secrets


class Cipher:
    """Encryption of secrets with the current key, and decryption with that key or older ones."""

    def __init__(self, key: str, *old: str) -> None:
        self.key_id = sha256(normal_key(key).encode()).hexdigest()[:8]
        """A name of the key that does not reveal it, stored beside each secret that it encrypted."""
        self.known_ids = frozenset(sha256(normal_key(text).encode()).hexdigest()[:8] for text in (key, *old))
        """The names of this key and of the older ones."""
        self._key = normal_key(key).encode()
        self._keys = tuple(normal_key(text) for text in (key, *old))

    @cached_property
    def _fernet(self) -> fernet.MultiFernet:
        return fernet.MultiFernet([fernet.Fernet(key) for key in self._keys])

    def encrypt(self, secret: SigningSecret) -> str:
        """Return `secret`, encrypted."""
        return self.seal(secret.text)

    def seal(self, text: str) -> str:
        """Return `text`, encrypted."""
        return self._fernet.encrypt(text.encode()).decode()

    def fingerprint(self, secret: SigningSecret, of: str) -> str:
        """Return a name of `secret` and its use `of` that does not reveal it, and differs under another key."""
        return hmac.digest(self._key, f"fingerprint\0{of}\0".encode() + secret.whole, "sha256").hex()

    def decrypt(self, encrypted: str) -> SigningSecret:
        """Return the secret in `encrypted`.

        Raises:
            StoreError: it was encrypted with another key, or changed.
        """
        return SigningSecret(self.unseal(encrypted))

    def unseal(self, encrypted: str) -> str:
        """Return the text in `encrypted`.

        Raises:
            StoreError: it was encrypted with another key, or changed.
        """
        try:
            return self._fernet.decrypt(encrypted.encode()).decode()
        except (fernet.InvalidToken, UnicodeError):
            raise StoreError(
                "a stored secret cannot be decrypted: it was changed, or encrypted with another RELAY_SECRET_KEY"
            ) from None
