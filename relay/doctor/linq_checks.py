"""Checks of the subscriptions at Linq: registered, active, and with a secret that can be decrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.bootstrap.ownership.prune import count_left_behind
from relay.bootstrap.reconciling.both import (
    V2_ONLY,
    doubled,
    is_v2_only,
    missing_settings,
    survey_both,
    without_v2_events,
)
from relay.bootstrap.status import statuses
from relay.doctor.finding import Finding, not_checked, ok, problem, warning
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from relay.bootstrap.status import Status
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

AREA = "Linq"


async def examine_linq(settings: Settings, redis: Redis, config: RelayConfig, now: float) -> list[Finding]:
    """Return a finding for each row of `relay bootstrap status` that is not ok; `now` is Unix seconds.

    Raises:
        RelayError: Linq or the keyring cannot be read.
    """
    missing = [need.upper() for need in missing_settings(settings, config)]
    if missing:
        why = f"{', '.join(missing)} not set"
        return [not_checked(AREA, "lines", why, "set these variables if this machine registers lines at Linq")]
    surveys = await survey_both(settings, redis, config)
    last_seen = await last_events(redis)
    rows = [row for survey in surveys.found for row in statuses(survey, last_seen, now, config.linq.silent_after)]
    bad = [problem(AREA, error, "fix the cause, then run: relay bootstrap status") for error in surveys.errors]
    bad += [_finding(row) for row in rows if not row.is_ok]
    if left := count_left_behind(surveys.found, now):
        bad.append(
            warning(AREA, f"{left} subscriptions of a former RELAY_PUBLIC_URL are left", "relay bootstrap prune")
        )
    if is_v2_only(settings, config):
        bad.append(warning(AREA, V2_ONLY, "set LINQ_API_V3_API_KEY, unless the account has only v2"))
    for name in without_v2_events(settings, config):
        bad.append(warning(AREA, f"the topic {name} takes no event type that v2 has, so nothing enters it", "add some"))
    bad += [warning(AREA, sentence, "deploy/docs/linq.md, From v2 to v3") for sentence in doubled(settings, config)]
    are = "1 subscription is" if len(rows) == 1 else f"{len(rows)} subscriptions are"
    good = [ok(AREA, f"{are} registered as configured")]
    return bad if any(not row.is_ok for row in rows) or surveys.errors else [*good, *bad]


def _finding(row: Status) -> Finding:
    what = f"{row.owner}: {row.state}"
    if row.state.startswith("silent"):
        return warning(AREA, what, "check that the line is still in use, and its status in Linq's dashboard")
    if row.state.startswith("another relay"):
        return problem(AREA, what, "see deploy/docs/linq.md, Ownership of subscriptions")
    if row.state.startswith("malformed"):
        return warning(AREA, what, "correct it at Linq; the relay does not touch it")
    return problem(AREA, what, "relay bootstrap apply")
