"""The merge of relay.toml and the subscriptions made by the API: one view of the rules.

A stored subscription is checked like a row of the file, by the same models and rules, whenever the file or its record
has changed. One that is not valid (any more) is left out, with the reason, and concerns no other; one whose name the
file has too is ignored, since the file wins.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from relay.config.secret_lookup import check_value
from relay.core.config.endpoint import endpoint_of
from relay.core.config.relay_toml import RelayConfig, Subscription
from relay.core.config.stored_rows import check_rows
from relay.core.errors import StoreError
from relay.net.target import Target
from relay.store.stored_subscriptions.record import NO_KEY, can_be_unsealed, parse_record, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.file import Loaded
    from relay.core.config.egress import Egress
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.endpoint import Path as KeyPath
    from relay.core.config.teams import Team
    from relay.rules.sources import StoredSources
    from relay.store.keyring.encryption import Cipher
    from relay.store.stored_subscriptions.record import StoredSubscription

_AT_ONCE = 20  # records decrypted before other tasks get their turn; a record takes about 0.1 ms


@dataclass(frozen=True, slots=True)
class View:
    """The rules from both sources."""

    config: RelayConfig
    """With the subscriptions of the file, then the usable stored ones."""
    file: RelayConfig
    stored: Mapping[str, StoredSubscription] = field(default_factory=dict)
    """The records that can be parsed, by name; those of deleted subscriptions too."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """The reasons why stored subscriptions are left out, by name."""
    shadowed: frozenset[str] = frozenset()
    """The names of stored subscriptions that the file has too."""
    teams: Mapping[str, Team] = field(default_factory=dict)
    """The teams that are not in the file, by name."""

    def egress_of(self, team: str | None) -> Egress:
        """Return the destinations of the subscriptions of a team, or with None of the operators."""
        if team is not None and team in self.teams:
            return self.teams[team].narrowed(self.file.egress)
        return self.file.egress_of(team)

    def is_in_file(self, name: str) -> bool:
        """Return True if the subscription is one of relay.toml."""
        return name in self.file.subscription_names

    def next_end(self, now_ms: int) -> int | None:
        """Return when the next signing secret of a stored subscription ends, Unix milliseconds; None if none does."""
        ends = [record.next_end(now_ms) for record in self.stored.values()]
        return min((end for end in ends if end is not None), default=None)


def view_of(file: RelayConfig, sources: StoredSources, cipher: Cipher | None, now_ms: int) -> View:
    """Merge the rules of the file and what is stored, without decrypting anything.

    With a cipher, a subscription that was encrypted with another key is unusable; without one, that cannot be told.
    """
    teams = {name: team for name, team in sources.teams.items() if name not in file.teams_by_name}
    stored, unusable = _parsed(sources.rows)
    active = [record for record in stored.values() if not record.deleted]
    shadowed = frozenset(record.name for record in active if record.name in file.subscription_names)
    wanted = [record for record in active if record.name not in shadowed]
    usable: list[Subscription] = []
    rows_checked = check_rows([record.row(now_ms) for record in wanted], file, list(teams.values()))
    for record, checked in zip(wanted, rows_checked, strict=True):
        if not isinstance(checked, Subscription):
            unusable[record.name] = "; ".join(map(str, checked))
        elif why := can_be_unsealed(cipher, record):
            unusable[record.name] = why
        else:
            usable.append(checked)
    return View(with_subscriptions(file, usable), file, stored, unusable, shadowed, teams)


async def endpoints_in(view: View, cipher: Cipher | None, now_ms: int) -> tuple[View, dict[str, Endpoint]]:
    """Decrypt the endpoints of the stored subscriptions; return them, and the view without those that failed."""
    endpoints: dict[str, Endpoint] = {}
    unusable = dict(view.unusable)
    usable: list[Subscription] = []
    for position, subscription in enumerate(view.config.subscriptions[len(view.file.subscriptions) :]):
        if position % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        try:
            found = values_of(subscription, view.stored[subscription.name], cipher, now_ms)
        except (StoreError, ValueError) as error:
            unusable[subscription.name] = str(error)
            continue
        endpoints[subscription.name] = endpoint_of(subscription, found, view.egress_of(subscription.team))
        usable.append(subscription)
    config = with_subscriptions(view.file, usable)
    return replace(view, config=config, unusable=unusable), endpoints


def values_of(
    subscription: Subscription, record: StoredSubscription, cipher: Cipher | None, now_ms: int
) -> dict[KeyPath, str]:
    """Return the secret values of a stored subscription, checked like those of the file.

    Raises:
        StoreError: they cannot be decrypted.
        ValueError: one is invalid, or nothing can be sent to the url.
    """
    if cipher is None:
        raise StoreError(NO_KEY)
    found: dict[KeyPath, str] = {}
    for path, text in record.found(unseal(cipher, record), now_ms).items():
        found[path] = check_value(path, text, found)
    Target.from_url(subscription.url)
    return found


def merged(loaded: Loaded, view: View, endpoints: Mapping[str, Endpoint]) -> Loaded:
    """Return the loaded file with the stored subscriptions of `view`."""
    return type(loaded)(view.config, {**loaded.endpoints, **endpoints}, loaded.alerts)


def with_subscriptions(file: RelayConfig, stored: list[Subscription]) -> RelayConfig:
    """Return the rules of the file with further subscriptions."""
    if not stored:
        return file
    fields = {name: getattr(file, name) for name in RelayConfig.model_fields}
    return RelayConfig.model_construct(**fields | {"subscriptions": (*file.subscriptions, *stored)})


def _parsed(rows: Mapping[bytes, bytes]) -> tuple[dict[str, StoredSubscription], dict[str, str]]:
    stored: dict[str, StoredSubscription] = {}
    unusable: dict[str, str] = {}
    for name, row in sorted(rows.items()):
        try:
            record = parse_record(name, row)
        except StoreError as error:
            unusable[name.decode(errors="replace")] = str(error)
        else:
            stored[record.name] = record
    return stored, unusable
