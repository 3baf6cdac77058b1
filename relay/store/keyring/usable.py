"""The stored secrets that can be used, for a run that changes subscriptions at Linq."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.core.errors import StoreError
from relay.store.keyring.record import UnusableRecord

if TYPE_CHECKING:
    from relay.store.keyring.keyring import Keyring
    from relay.store.keyring.record import KeyRecord

log = structlog.get_logger()


async def usable_secrets(keyring: Keyring) -> tuple[list[KeyRecord], list[str]]:
    """Return the stored secrets that can be used, and the ids of those that are broken.

    Raises:
        StoreError: another key is needed. Replacing these secrets would take valid ones away from an ingress that
            has the key.
    """
    records, broken = await keyring.read()
    usable: list[KeyRecord] = []
    closed: list[UnusableRecord] = []
    for record in records:
        try:
            keyring.open(record)
        except UnusableRecord as error:
            (closed if error.wrong_key else broken).append(error)
        else:
            usable.append(record)
    if closed:
        owners = ", ".join(sorted({error.owner for error in closed}))
        raise StoreError(
            f"the stored secrets of {owners} were encrypted with another RELAY_SECRET_KEY: use that key, or give "
            "it in RELAY_SECRET_KEY_OLD, in every ingress, worker and bootstrap (deploy/docs/linq.md, Changing "
            "RELAY_SECRET_KEY)"
        )
    for bad in broken:
        log.warning("keyring.error", message=str(bad), line=bad.owner, subscription=bad.subscription_id)
    return usable, [bad.subscription_id for bad in broken]
