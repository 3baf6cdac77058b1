"""Checks of stored subscriptions; results are kept while neither the record nor what it is checked against changes.

One subscription that changes costs one check and one decryption, whatever the number of others. When relay.toml changes
all are checked again, a few at a time, so that the other tasks of the process get their turn.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from relay.config.secrets.lookup import check_value
from relay.core.config.endpoint import Endpoint, endpoint_of
from relay.core.config.stored_rows import check_rows
from relay.core.errors import StoreError
from relay.net.target import Target
from relay.store.driver.streams import pages
from relay.store.stored_subscriptions.record import NO_KEY, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.core.config.egress import Egress
    from relay.core.config.endpoint import Path
    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.core.config.stored_rows import Checked
    from relay.core.config.teams import Team
    from relay.store.keyring.encryption import Cipher
    from relay.store.stored_subscriptions.record import StoredSubscription

_AT_ONCE = 20  # records checked or decrypted before other tasks get their turn; a record takes about 0.1 ms


class _Kept(NamedTuple):
    """The result of a check, and what was checked."""

    record: StoredSubscription
    live: tuple[int, ...]
    original: StoredSubscription | None
    result: Checked


class StoredChecks:
    """The checks against the rules that were given last."""

    def __init__(self) -> None:
        self._file: RelayConfig | None = None
        self._teams: Mapping[str, Team] | None = None
        self._records: Mapping[str, StoredSubscription] = {}
        self._checked: dict[str, _Kept] = {}
        self._opened: dict[str, tuple[Subscription, Endpoint | str]] = {}

    def against(self, file: RelayConfig, teams: Mapping[str, Team], records: Mapping[str, StoredSubscription]) -> None:
        """Forget the results if these are not the rules, and the teams that are not in the file, of the last ones.

        `records` are all that are stored: a shadow is checked with its original.
        """
        self._records = records
        if file is self._file and teams == self._teams:
            return
        self._file, self._teams = file, teams
        self._checked.clear()
        self._opened.clear()

    def check(self, records: Sequence[StoredSubscription], now_ms: int) -> list[Checked]:
        """Return the subscription of each record, or its mistakes."""
        due = [record for record in records if not self._is_checked(record, now_ms)]
        assert self._file is not None  # noqa: S101  `against` is called before
        rows = [record.row(now_ms) for record in due]
        originals = [each for record in due if (each := self._original_of(record)) is not None]
        beside = {each.name: {**each.table, "name": each.name} for each in originals}
        results = check_rows(rows, self._file, list((self._teams or {}).values()), beside)
        for record, checked in zip(due, results, strict=True):
            self._checked[record.name] = _Kept(record, record.live(now_ms), self._original_of(record), checked)
        return [self._checked[record.name].result for record in records]

    async def prepare(self, records: Sequence[StoredSubscription], now_ms: int) -> None:
        """Check records a few at a time, so that `check` has little to do."""
        for page in pages([record for record in records if not self._is_checked(record, now_ms)], _AT_ONCE):
            self.check(page, now_ms)
            await asyncio.sleep(0)

    async def open(
        self, pairs: Sequence[tuple[Subscription, StoredSubscription, Egress]], cipher: Cipher | None, now_ms: int
    ) -> list[Endpoint | str]:
        """Return the endpoint of each subscription, from its record and its destinations, or why it has none."""
        opened: list[Endpoint | str] = []
        worked = 0
        for subscription, record, egress in pairs:
            kept = self._opened.get(subscription.name)
            if kept is None or kept[0] is not subscription:
                kept = (subscription, _endpoint(subscription, record, egress, cipher, now_ms))
                self._opened[subscription.name] = kept
                worked += 1
                if worked % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            opened.append(kept[1])
        return opened

    def _is_checked(self, record: StoredSubscription, now_ms: int) -> bool:
        kept = self._checked.get(record.name)
        return (
            kept is not None
            and kept.record is record
            and kept.live == record.live(now_ms)
            and kept.original is self._original_of(record)
        )

    def _original_of(self, record: StoredSubscription) -> StoredSubscription | None:
        """Return the stored subscription that `record` shadows; None if there is none."""
        original = self._records.get(str(record.table.get("shadow_of")))
        return None if original is None or original.deleted else original


def _endpoint(
    subscription: Subscription, record: StoredSubscription, egress: Egress, cipher: Cipher | None, now_ms: int
) -> Endpoint | str:
    """Return the endpoint of a subscription, with its secret values checked like those of the file, or why not."""
    if cipher is None:
        return NO_KEY
    found: dict[Path, str] = {}
    try:
        for path, text in record.found(unseal(cipher, record), now_ms).items():
            found[path] = check_value(path, text, found)
        Target.from_url(subscription.url)
    except (StoreError, ValueError) as error:
        return str(error)
    return endpoint_of(subscription, found, egress)
