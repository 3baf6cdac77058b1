"""The look at Linq that the page shows: as `relay bootstrap status` and `plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config.file import read_config
from relay.core.errors import ConfigError
from relay.core.lazy_modules import LazyModule
from relay.process.imports import import_later
from relay.services.operators.linq import Look, OwnerAtLinq, StepAtLinq
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from relay.bootstrap import plan, status
    from relay.bootstrap.reconciling import both
    from relay.config.settings import Settings
    from relay.services.context import Context
    from relay.services.operators.linq import Looker
else:  # Linq's SDK, for the first look
    both = LazyModule("relay.bootstrap.reconciling.both")
    plan = LazyModule("relay.bootstrap.plan")
    status = LazyModule("relay.bootstrap.status")


def has_accounts(settings: Settings) -> bool:
    """Return True if relay.toml has `[[linq.accounts]]` now."""
    try:
        return bool(read_config(settings.relay_config).linq.accounts)
    except ConfigError:  # is reported where the rules are read
        return False


def linq_looker(context: Context) -> Looker | None:
    """Return the look at Linq; None if the settings have no access to it."""
    settings = context.settings
    if settings.relay_secret_key is None or (settings.linq_api_v3_api_key is None and not has_accounts(settings)):
        return None

    async def look() -> Look:
        await import_later(both.__name__)  # a second, while others are served
        config = await context.config()
        if missing := both.missing_settings(settings, config):
            return Look((), (), (), tuple(f"{name.upper()} is not set" for name in missing))
        surveys = await both.survey_both(settings, context.redis, config)
        last_seen, now = await last_events(context.redis), context.clock()
        owners = [
            row for survey in surveys.found for row in status.statuses(survey, last_seen, now, config.linq.silent_after)
        ]
        steps = [step for survey in surveys.found for step in survey.plan(now) if step.action is not plan.Action.KEEP]
        return Look(
            owners=tuple(
                OwnerAtLinq(
                    owner=row.owner,
                    generation=row.generation,
                    subscription_id=row.subscription_id,
                    is_active=row.is_active,
                    last_event_ms=row.last_event_ms,
                    retiring=row.retiring,
                    state=row.state,
                )
                for row in owners
            ),
            steps=tuple(
                StepAtLinq(str(step.action), step.owner, step.generation, step.subscription_id, step.reason)
                for step in steps
            ),
            notes=tuple(surveys.notes),
            errors=tuple(surveys.errors),
        )

    return look
