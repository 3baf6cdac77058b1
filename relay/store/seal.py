"""Sealing: secrets lie in Redis encrypted and authenticated (Fernet), under RELAY_SECRET_KEY."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken

from relay.core.errors import StoreError
from relay.core.secret import SigningSecret, normal_key


class Seal:
    """Encrypts and decrypts secrets with one key."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(normal_key(key))

    def close(self, secret: SigningSecret) -> str:
        """`secret`, sealed."""
        return self._fernet.encrypt(secret.text.encode()).decode()

    def open(self, sealed: str) -> SigningSecret:
        """The secret in `sealed`.

        Raises:
            StoreError: it was sealed with another key, or changed.
        """
        try:
            return SigningSecret(self._fernet.decrypt(sealed.encode()).decode())
        except InvalidToken:
            raise StoreError("a stored secret cannot be opened: it was sealed with another RELAY_SECRET_KEY") from None
