"""Checks of the subscriptions made by the API, which are examined beside those of relay.toml."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from relay.doctor.finding import Finding, problem, warning
from relay.rules.checks import StoredChecks
from relay.rules.cipher import cipher_of
from relay.rules.merge import merged, opened_view
from relay.rules.sources import StoredSources
from relay.store.driver.client import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.config.file import Loaded
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis


class WithStored(NamedTuple):
    """The rules of both sources."""

    loaded: Loaded
    unusable: Collection[str]
    """The names of the stored subscriptions that are not in force."""
    findings: list[Finding]


async def with_stored(settings: Settings, redis: Redis, loaded: Loaded) -> WithStored:
    """Return the rules with what is stored, and a finding for each subscription that is not in force."""
    sources = StoredSources(redis)
    try:
        await sources.read()
    except REDIS_ERRORS:  # the findings about Redis report it
        return WithStored(loaded, (), [])
    cipher, now_ms = cipher_of(settings), round(time.time() * 1000)
    view, endpoints = await opened_view(loaded.config, sources, cipher, now_ms, StoredChecks())
    findings = [
        problem(
            f"subscription {name}", f"made by the API, and not in force: {why}", "change it, or what contradicts it"
        )
        for name, why in view.unusable.items()
    ]
    for name in sorted(view.shadowed):
        what = "relay.toml has the name of one made by the API, which is ignored"
        findings.append(warning(f"subscription {name}", what, "rename it in relay.toml, or delete the other one"))
    return WithStored(merged(loaded, view, endpoints), view.unusable.keys(), findings)
