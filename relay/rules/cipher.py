"""The cipher of what is stored in Redis, with the keys of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.keyring.encryption import Cipher

if TYPE_CHECKING:
    from relay.config.settings import Settings


def cipher_of(settings: Settings) -> Cipher | None:
    """Return the cipher with RELAY_SECRET_KEY, which also opens what former keys have encrypted; None without one."""
    if settings.relay_secret_key is None:
        return None
    old = settings.relay_secret_key_old
    old_keys = old.get_secret_value().split(",") if old else ()
    return Cipher(settings.relay_secret_key.get_secret_value(), *old_keys)
