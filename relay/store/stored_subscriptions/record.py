"""The record of a subscription made by the API: its table as TOML would have it, and its secret values, encrypted.

No I/O. The signing secrets, the values of the headers and those of `auth` are one encrypted text, so that neither they
nor their number of characters can be read; their names are in the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json, to_json

from relay.core.errors import StoreError
from relay.core.secret import SecretReference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.config.endpoint import Path
    from relay.store.keyring.encryption import Cipher

NO_KEY = (
    "RELAY_SECRET_KEY is not set for this process, so the secrets of subscriptions made by the API cannot be "
    "decrypted; give it the value that the ingress has"
)
_WRONG_KEY = (
    "its secrets were encrypted with another RELAY_SECRET_KEY: use that key, or give it in RELAY_SECRET_KEY_OLD"
)
_CHANGED = "its record was changed by another client: its own key does not decrypt it; delete it and create it again"
_NAMED = ("headers", "auth")


@dataclass(frozen=True, slots=True)
class SecretValues:
    """The values of a subscription that must not be read in Redis."""

    secrets: tuple[str, ...] = field(repr=False)
    """Signing secrets, newest first."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: Mapping[str, str] = field(default_factory=dict, repr=False)


class StoredSubscription(BaseModel):
    """A subscription made by the API."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    version: int
    """Grows by one with every change."""
    table: dict[str, Any] = {}
    """The keys of its `[[subscriptions]]` table but for name and secret; `headers` and `auth` have names without
    values.
    """
    sealed: str = ""
    key_id: str = ""
    """The id of the key that encrypted its secret values."""
    secret_ends: tuple[int | None, ...] = ()
    """The end of each signing secret, Unix milliseconds; None for one that stays."""
    created_at: int
    """Unix milliseconds."""
    created_by: str
    changed_at: int
    changed_by: str
    deleted: bool = False
    """True if it was deleted, and its lane may still have events: the name stays its team's until the lane is dropped.
    """
    why: str = ""
    """The reason for its deletion."""

    @property
    def team(self) -> str | None:
        """The name of its team; None if it belongs to the operators."""
        team = self.table.get("team")
        return team if isinstance(team, str) else None

    def live(self, now_ms: int) -> tuple[int, ...]:
        """Return the positions of the signing secrets that have not ended."""
        return tuple(at for at, end in enumerate(self.secret_ends) if end is None or end > now_ms)

    def next_end(self, now_ms: int) -> int | None:
        """Return when the next of its signing secrets ends, Unix milliseconds; None if all stay."""
        return min((end for end in self.secret_ends if end is not None and end > now_ms), default=None)

    def row(self, now_ms: int) -> dict[str, Any]:
        """Return its table with references in place of the secret values."""
        secrets = [SecretReference("stored", str(at)) for at in self.live(now_ms)]
        named = {
            key: {name: SecretReference("stored", name) for name in self.table[key]}
            for key in _NAMED
            if isinstance(self.table.get(key), dict)
        }
        return {**self.table, **named, "name": self.name, "secret": secrets}

    def found(self, values: SecretValues, now_ms: int) -> dict[Path, str]:
        """Return the values of the references in `row`."""
        found: dict[Path, str] = {
            ("secret", position): values.secrets[at] for position, at in enumerate(self.live(now_ms))
        }
        for key in _NAMED:
            found |= {(key, name): value for name, value in getattr(values, key).items()}
        return found


def seal(cipher: Cipher, values: SecretValues) -> dict[str, Any]:
    """Return the fields of a record that hold `values`, encrypted."""
    text = to_json([values.secrets, values.headers, values.auth]).decode()
    return {"sealed": cipher.seal(text), "key_id": cipher.key_id}


def unseal(cipher: Cipher | None, record: StoredSubscription) -> SecretValues:
    """Return the secret values of a record.

    Raises:
        StoreError: there is no key, or it is not the one that encrypted them, or the record was changed.
    """
    if cipher is None:
        raise StoreError(NO_KEY)
    try:
        secrets, headers, auth = from_json(cipher.unseal(record.sealed))
    except StoreError:
        raise StoreError(_CHANGED if record.key_id in cipher.known_ids else _WRONG_KEY) from None
    if len(secrets) != len(record.secret_ends):
        raise StoreError(_CHANGED)
    return SecretValues(tuple(secrets), headers, auth)


def can_be_unsealed(cipher: Cipher | None, record: StoredSubscription) -> str | None:
    """Return why the secret values of a record cannot be decrypted by its key's name alone; None if they may be."""
    if cipher is None or record.key_id in cipher.known_ids:
        return None
    return _WRONG_KEY


def parse_record(name: bytes, row: bytes) -> StoredSubscription:
    """Parse a field of the hash.

    Raises:
        StoreError: it is not a record, or not that of this name.
    """
    try:
        record = StoredSubscription.model_validate_json(row)
    except ValidationError:
        record = None
    if record is None or record.name != name.decode(errors="replace"):
        raise StoreError("its record in Redis was changed by another client; delete it and create it again")
    return record
