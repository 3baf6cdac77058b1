"""Checks of the subscriptions at Linq: registered, active, and with a secret that can be decrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.bootstrap.both_apis import survey_both
from relay.bootstrap.factory import NEEDS
from relay.bootstrap.status import statuses
from relay.doctor.finding import Finding, not_checked, ok, problem, warning
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

AREA = "Linq"


async def examine_linq(settings: Settings, redis: Redis, config: RelayConfig, now: float) -> list[Finding]:
    """Return a finding for each row of `relay bootstrap status` that is not ok; `now` is Unix seconds.

    Raises:
        RelayError: Linq or the keyring cannot be read.
    """
    missing = [need.upper() for need in NEEDS if getattr(settings, need) is None]
    if missing:
        why = f"{', '.join(missing)} not set"
        return [not_checked(AREA, "lines", why, "set these variables if this machine registers lines at Linq")]
    surveys = await survey_both(settings, redis, config)
    last_seen = await last_events(redis)
    rows = [row for survey in surveys.found for row in statuses(survey, last_seen, now, config.linq.silent_after)]
    bad = [problem(AREA, error, "fix the cause, then run: relay bootstrap status") for error in surveys.troubles]
    bad += [
        problem(AREA, f"{row.owner}: {row.state}", "relay bootstrap apply")
        if not row.state.startswith("silent")
        else warning(
            AREA, f"{row.owner}: {row.state}", "check that the line is still in use, and its status in Linq's dashboard"
        )
        for row in rows
        if not row.is_ok
    ]
    return bad or [ok(AREA, f"{len(rows)} subscriptions are registered as configured")]
