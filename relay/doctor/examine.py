"""The examination: all checks, run one after the other.

An area that cannot be checked (Redis is down, Linq refuses the API key) is itself a finding, and the other areas are
still checked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from redis.exceptions import NoPermissionError, RedisError

from relay.core.errors import RelayError
from relay.doctor.event_type_checks import AREA as EVENT_TYPES
from relay.doctor.event_type_checks import examine_event_types
from relay.doctor.finding import Finding, State, problem
from relay.doctor.fleet_checks import AREA as PROCESSES
from relay.doctor.fleet_checks import examine_fleet
from relay.doctor.group_checks import examine_groups
from relay.doctor.keyring_checks import AREA as KEYRING
from relay.doctor.keyring_checks import examine_keyring
from relay.doctor.lane_checks import examine_destinations, examine_lanes
from relay.doctor.linq_checks import AREA as LINQ
from relay.doctor.linq_checks import examine_linq
from relay.doctor.redis_checks import AREA as REDIS
from relay.doctor.redis_checks import examine_redis
from relay.doctor.shard_checks import AREA as SHARDS
from relay.doctor.shard_checks import examine_number, examine_shards
from relay.doctor.stored_checks import with_stored
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.rights.explanation import explain

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from relay.config.file import Loaded
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis


async def examine(settings: Settings, redis: Redis, loaded: Loaded) -> list[Finding]:
    """Return the findings of all areas: Redis, the keyring, subscriptions and their endpoints, event types, Linq."""
    config = loaded.config
    stored = await with_stored(settings, redis, loaded)
    of_redis = examine_shards(redis, settings, config) if redis.others else examine_redis(redis, settings)
    findings = await _errors_as_findings(REDIS, of_redis, "check REDIS_URL, and that Redis is running")
    findings += await _errors_as_findings(SHARDS, examine_number(redis), "check Redis")
    findings += await _errors_as_findings(KEYRING, examine_keyring(settings, redis), "check Redis")
    findings += await _errors_as_findings(PROCESSES, examine_fleet(redis, time.time()), "check Redis")
    findings += await _errors_as_findings(
        "subscriptions",
        examine_lanes(redis, stored.loaded.config, stored.unusable),
        "check Redis: see the findings about it",
    )
    user = urlsplit(settings.redis_url or "").username or "default"
    findings += await _errors_as_findings(
        "pull groups", examine_groups(redis, config, user, time.time()), "check Redis: see the findings about it"
    )
    findings += stored.findings + await examine_destinations(stored.loaded)
    findings += await _errors_as_findings(
        EVENT_TYPES, examine_event_types(settings, redis, config), "see the findings about Linq and Redis"
    )
    return findings + await _errors_as_findings(
        LINQ, examine_linq(settings, redis, config, time.time()), "fix the cause, then run: relay bootstrap status"
    )


async def _errors_as_findings(area: str, check: Awaitable[list[Finding]], remedy: str) -> list[Finding]:
    """Return the findings of `check`; an error of the relay or of Redis becomes a problem with `remedy`.

    What the user has no right for is not a problem of the relay, and not known to be well either.
    """
    try:
        return await check
    except NoPermissionError as error:
        remedy = "grant this user the rights of relay acl, or for commands that only read those of relay acl --viewer"
        return [Finding(area, State.NOT_CHECKED, f"not checked: {describe(error)}", remedy)]
    except RedisError as error:
        said = explain(error)
        return [problem(area, said.what, said.remedy or remedy)]
    except (RelayError, *REDIS_ERRORS) as error:
        return [problem(area, describe(error), remedy)]
