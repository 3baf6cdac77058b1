"""The merge of relay.toml and the subscriptions made by the API: one view of the rules.

A stored subscription is checked like a row of the file, by the same models and rules, whenever the file or its record
has changed. One that is not valid (any more) is left out, with the reason, and concerns no other; one whose name the
file has too is ignored, since the file wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from relay.core.config.checks.contradictions import exclusive_topic
from relay.core.config.egress import RemoteEgress
from relay.core.config.endpoint import Endpoint
from relay.core.config.relay_toml import RelayConfig, Subscription
from relay.store.stored_subscriptions.record import can_be_unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.config.file import Loaded
    from relay.core.config.egress import Egress
    from relay.core.config.teams import Team
    from relay.rules.checks import StoredChecks
    from relay.rules.sources import StoredSources
    from relay.store.keyring.encryption import Cipher
    from relay.store.stored_subscriptions.record import StoredSubscription


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
        """Return the destinations of the stored subscriptions of a team, or with None of the operators."""
        if team is None:
            return self.file.egress
        beside = self.teams.get(team)
        return RemoteEgress(within=beside.narrowed(self.file.egress) if beside else self.file.egress_of(team))

    def is_in_file(self, name: str) -> bool:
        """Return True if the subscription is one of relay.toml."""
        return name in self.file.subscription_names

    def next_end(self, now_ms: int) -> int | None:
        """Return when the next signing secret of a stored subscription ends, Unix milliseconds; None if none does."""
        ends = [record.next_end(now_ms) for record in self.stored.values()]
        return min((end for end in ends if end is not None), default=None)


def view_of(
    file: RelayConfig, sources: StoredSources, cipher: Cipher | None, now_ms: int, checks: StoredChecks
) -> View:
    """Merge the rules of the file and what is stored, without decrypting anything.

    With a cipher, a subscription that was encrypted with another key is unusable; without one, that cannot be told.
    """
    teams = _teams_beside(file, sources)
    checks.against(file, teams, sources.records)
    unusable = dict(sources.damaged)
    shadowed = frozenset(
        record.name
        for record in sources.records.values()
        if record.name in file.subscription_names and not record.deleted
    )
    wanted = _wanted(file, sources)
    usable: list[Subscription] = []
    for record, checked in zip(wanted, checks.check(wanted, now_ms), strict=True):
        if not isinstance(checked, Subscription):
            unusable[record.name] = "; ".join(map(str, checked))
        elif why := can_be_unsealed(cipher, record):
            unusable[record.name] = why
        else:
            usable.append(checked)
    for name, why in _second_of_exclusive(file, usable, sources.records):
        unusable[name] = why
        usable = [each for each in usable if each.name != name]
    return View(with_subscriptions(file, usable), file, sources.records, unusable, shadowed, teams)


async def opened_view(
    file: RelayConfig, sources: StoredSources, cipher: Cipher | None, now_ms: int, checks: StoredChecks
) -> tuple[View, dict[str, Endpoint]]:
    """Merge the rules and decrypt the endpoints of what is stored; the view is without those that failed."""
    checks.against(file, _teams_beside(file, sources), sources.records)
    await checks.prepare(_wanted(file, sources), now_ms)
    view = view_of(file, sources, cipher, now_ms, checks)
    stored = view.config.subscriptions[len(file.subscriptions) :]
    pairs = [(each, view.stored[each.name], view.egress_of(each.team)) for each in stored]
    opened = dict(zip((each.name for each in stored), await checks.open(pairs, cipher, now_ms), strict=True))
    failed = {name: result for name, result in opened.items() if isinstance(result, str)}
    endpoints = {name: result for name, result in opened.items() if isinstance(result, Endpoint)}
    config = with_subscriptions(file, [each for each in stored if each.name in endpoints])
    return replace(view, config=config, unusable={**view.unusable, **failed}), endpoints


def _teams_beside(file: RelayConfig, sources: StoredSources) -> dict[str, Team]:
    return {name: team for name, team in sources.teams.items() if name not in file.teams_by_name}


def _second_of_exclusive(
    file: RelayConfig, usable: list[Subscription], records: Mapping[str, StoredSubscription]
) -> Iterator[tuple[str, str]]:
    """Yield the stored subscriptions whose exclusive topic another one has (the older wins), with the reason."""
    exclusive = {topic.name for topic in file.topics if topic.exclusive}
    if not exclusive:
        return
    holders = {each.topic: each for each in file.subscriptions if each.shadow_of is None}
    for each in sorted(usable, key=lambda known: (records[known.name].created_at, known.name)):
        if each.topic in exclusive and each.shadow_of is None:
            holder = holders.setdefault(each.topic, each)
            if holder is not each:
                shown = holder.name if _may_know(each, holder) else None
                yield each.name, exclusive_topic(each.topic, shown, each.name)


def _may_know(subscription: Subscription, other: Subscription) -> bool:
    """Return True if the team of a subscription, which is told why it is not in force, sees the other one."""
    return subscription.team is None or subscription.team == other.team


def _wanted(file: RelayConfig, sources: StoredSources) -> list[StoredSubscription]:
    """Return the records of the subscriptions that exist, but for those whose name the file has."""
    records = sources.records.values()
    return [record for record in records if not record.deleted and record.name not in file.subscription_names]


def merged(loaded: Loaded, view: View, endpoints: Mapping[str, Endpoint]) -> Loaded:
    """Return the loaded file with the stored subscriptions of `view`."""
    return type(loaded)(view.config, {**loaded.endpoints, **endpoints}, loaded.alerts)


def with_subscriptions(file: RelayConfig, stored: list[Subscription]) -> RelayConfig:
    """Return the rules of the file with further subscriptions."""
    if not stored:
        return file
    fields = {name: getattr(file, name) for name in RelayConfig.model_fields}
    return RelayConfig.model_construct(**fields | {"subscriptions": (*file.subscriptions, *stored)})
