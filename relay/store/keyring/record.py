"""A record of the keyring: one generation of a line's Linq subscription, with its encrypted secret. No I/O.

A record that cannot be used breaks its own subscription only. Its error names the line, as far as that can be read, and
the command that repairs it. Two causes differ in what helps:

    another key       the secret is good: give its key in RELAY_SECRET_KEY or RELAY_SECRET_KEY_OLD
    anything else     no key opens it any more: `relay bootstrap apply` replaces its subscription at Linq
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.core.errors import StoreError
from relay.core.event import Dialect, owner_of
from relay.core.json_text import parse_json
from relay.core.line_secret import LineSecret

if TYPE_CHECKING:
    from relay.store.keyring.encryption import Cipher


class KeyRecord(BaseModel):
    """A generation of a line's Linq subscription, with its encrypted secret."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    line: str | None
    """None for a Linq subscription that spans the account."""
    generation: int
    subscription_id: str
    """Linq's id of the subscription."""
    sealed: str
    key_id: str = ""
    """The id of the key that encrypted it."""
    stored_at: int
    """Unix seconds."""
    account: Annotated[str | None, Field(exclude_if=lambda name: name is None)] = None
    """Its account of `[[linq.accounts]]`."""
    retire_at: int | None = None
    """Unix seconds: when its successor replaces the subscription, or when it was found missing at Linq."""


class UnusableRecord(StoreError):
    """A record whose secret cannot be used."""

    def __init__(self, message: str, subscription_id: str, owner: str, *, wrong_key: bool = False) -> None:
        super().__init__(message)
        self.subscription_id = subscription_id
        self.owner = owner
        """The line (E.164), `account`, or `an unknown line`."""
        self.wrong_key = wrong_key
        """True if another key may open it."""


def parse_record(name: bytes, row: bytes) -> KeyRecord:
    """Parse a field of the hash.

    Raises:
        UnusableRecord: it is not a record, or not that of this subscription.
    """
    subscription_id = name.decode(errors="replace")
    try:
        record = KeyRecord.model_validate_json(row)
    except ValidationError:
        raise _broken(subscription_id, _owner_in(row), "is not the record of a secret") from None
    if record.subscription_id != subscription_id:
        raise _broken(subscription_id, record.line or "account", "is the record of another subscription")
    return record


def open_record(cipher: Cipher, record: KeyRecord) -> LineSecret:
    """Return the secret in `record`, decrypted.

    Raises:
        UnusableRecord: it was encrypted with another key, or changed.
    """
    owner = owner_of(Dialect.V3, record.line, record.account)
    try:
        secret = cipher.decrypt(record.sealed)
    except StoreError:
        if record.key_id in cipher.known_ids:
            raise _broken(record.subscription_id, owner, "was changed: its own key does not decrypt it") from None
        raise UnusableRecord(
            f"the secret of {owner} was encrypted with another RELAY_SECRET_KEY: use that key, or give it in "
            "RELAY_SECRET_KEY_OLD",
            record.subscription_id,
            owner,
            wrong_key=True,
        ) from None
    return LineSecret(record.line, record.generation, secret, record.account)


def _broken(subscription_id: str, owner: str, fault: str) -> UnusableRecord:
    message = (
        f"the secret of {owner} cannot be used: the field {subscription_id} of the keyring {fault}; "
        "run: relay bootstrap apply, which replaces its subscription at Linq"
    )
    return UnusableRecord(message, subscription_id, owner)


def _owner_in(row: bytes) -> str:
    """Return the line that a broken record names."""
    try:
        fields = parse_json(row)
    except ValueError:
        return "an unknown line"
    line = fields.get("line", "") if isinstance(fields, dict) else ""
    if line is None:
        return "account"
    return line if isinstance(line, str) and line else "an unknown line"
