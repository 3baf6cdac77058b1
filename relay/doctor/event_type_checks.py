"""Checks of event types: those that Linq offers and no topic takes, or that were never seen, and unaccepted changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config.linq_accounts import accounts_of, key_and_rules
from relay.contracts.learning import LOST
from relay.core.patterns import matches
from relay.doctor.finding import Finding, ok, warning
from relay.linq.api.v3 import KNOWN_EVENT_TYPES, open_linq
from relay.store.contracts.contracts import Contracts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

AREA = "event types"


async def examine_event_types(settings: Settings, redis: Redis, config: RelayConfig) -> list[Finding]:
    """Return findings about event types, of all accounts; without a key for Linq's v3 API only about what came.

    Raises:
        LinqApiError: Linq cannot be asked.
        SettingsError: the key of an account is missing.
    """
    contracts = await Contracts(redis).all()
    findings = [
        warning(AREA, _told(str(contract.pair), change), f"relay contracts show {contract.pair.type}")
        for contract in contracts
        for change in contract.changes
    ]
    if settings.linq_api_v3_api_key is None and not config.linq.accounts:
        return findings
    offered = sorted(await _offered(settings, config))
    patterns = [pattern for topic in config.topics for pattern in topic.events]
    taken = [each for each in offered if any(matches(pattern, each) for pattern in patterns)]
    seen = {contract.pair.type for contract in contracts}
    untaken, unseen = sorted({*offered} - {*taken}), sorted({*taken} - seen)
    if untaken:
        findings.append(ok(AREA, f"no topic takes {_some(untaken, offered)} that Linq offers: {', '.join(untaken)}"))
    if unseen:
        findings.append(ok(AREA, f"{_some(unseen, taken)} that topics take were never seen: {', '.join(unseen)}"))
    if new := sorted({*offered} - {*KNOWN_EVENT_TYPES}):
        what = f"Linq offers types that this release does not know: {', '.join(new)}"
        remedy = "look for a newer release; events of them are accepted and routed, with the facts that can be read"
        findings.append(warning(AREA, what, remedy))
    return findings


async def _offered(settings: Settings, config: RelayConfig) -> set[str]:
    """Return the event types that Linq offers to any of the accounts."""
    offered = set[str]()
    for account in accounts_of(settings, config):
        key, _ = key_and_rules(settings, config, account)
        async with open_linq(key, settings.linq_api_v3_base_url) as api:
            offered.update(await api.event_types())
    return offered


def _told(pair: str, change: str) -> str:
    if change.startswith(LOST):
        return f"events of {pair} have no {change.removeprefix(LOST)} any more"
    return f"{pair} is a {change.replace('_', ' ')} of Linq's"


def _some(some: Sequence[str], of: Sequence[str]) -> str:
    return f"{len(some)} of the {len(of)} event types"
