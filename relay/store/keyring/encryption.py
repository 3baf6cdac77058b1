"""Encryption: secrets are stored in Redis encrypted and authenticated (Fernet), under RELAY_SECRET_KEY.

Old keys (RELAY_SECRET_KEY_OLD) still decrypt the secrets that they encrypted; the next `relay bootstrap apply` encrypts
these again with the new key.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from relay.core.errors import StoreError
from relay.core.secret import SigningSecret, normal_key


class Cipher:
    """Encrypts secrets with one key, and decrypts them with that one or older ones."""

    def __init__(self, key: str, *old: str) -> None:
        self.key_id = sha256(normal_key(key).encode()).hexdigest()[:8]
        """Names the key without giving it away; kept beside what it sealed."""
        self._key = normal_key(key).encode()
        self._fernet = MultiFernet([Fernet(normal_key(text)) for text in (key, *old)])

    def encrypt(self, secret: SigningSecret) -> str:
        """Return `secret`, encrypted."""
        return self._fernet.encrypt(secret.text.encode()).decode()

    def fingerprint(self, secret: SigningSecret, of: str) -> str:
        """Names `secret` and what it is `of` without giving it away; under another key, it is another name."""
        return hmac.digest(self._key, f"fingerprint\0{of}\0".encode() + secret.whole, "sha256").hex()

    def decrypt(self, sealed: str) -> SigningSecret:
        """Return the secret in `sealed`.

        Raises:
            StoreError: it was sealed with another key, or changed.
        """
        try:
            return SigningSecret(self._fernet.decrypt(sealed.encode()).decode())
        except InvalidToken:
            raise StoreError(
                "a stored secret cannot be decrypted: it was encrypted with another RELAY_SECRET_KEY"
            ) from None
