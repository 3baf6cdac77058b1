"""Whether Linq's side is as it should be: secrets that open, subscriptions that stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.bootstrap.both_apis import survey_both
from relay.bootstrap.factory import NEEDS
from relay.bootstrap.status import statuses
from relay.doctor.finding import Finding, ok, problem, warning
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

AREA = "Linq"


async def examine_linq(settings: Settings, redis: Redis, config: RelayConfig, now: float) -> list[Finding]:
    """What `relay bootstrap status` would complain of; `now` is Unix seconds.

    Raises:
        RelayError: Linq or the keyring cannot be looked at.
    """
    missing = [need.upper() for need in NEEDS if getattr(settings, need) is None]
    if missing:
        what = f"not looked at: {', '.join(missing)} not set"
        return [warning(AREA, what, "set them here, if this machine is to register lines and look after them")]
    looked = await survey_both(settings, redis, config)
    heard = await last_events(redis)
    rows = [row for survey in looked.found for row in statuses(survey, heard, now, config.linq.silent_after)]
    bad = [problem(AREA, trouble, "see what the message says") for trouble in looked.troubles]
    bad += [
        problem(AREA, f"{row.owner}: {row.state}", "relay bootstrap apply")
        if not row.state.startswith("silent")
        else warning(
            AREA, f"{row.owner}: {row.state}", "look whether the line is still in use, and at Linq's dashboard"
        )
        for row in rows
        if not row.is_ok
    ]
    return bad or [ok(AREA, f"{len(rows)} subscriptions are as they should be")]
