"""`relay up`: one supervised group on one machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from relay.admin.role import admin_group
from relay.bootstrap.desired import public_url_of
from relay.bootstrap.needs import V2_NEEDS
from relay.bootstrap.reconciling.both import apply_both
from relay.config.file import ConfigFile, load_config, read_config
from relay.config.secrets.lookup import account_key
from relay.config.settings import Settings, environment, environment_with_secrets, masked_redis_url
from relay.core.config.linq import LinqConfig
from relay.core.errors import ConfigError, Problem, RelayError, SettingsError
from relay.parts import open_store
from relay.process.embedded_redis import embedded_redis
from relay.process.event_loop import stop_on_signals
from relay.process.logs import configure_logging
from relay.process.subprocesses import python
from relay.process.supervisor import STOP_TIMEOUT, supervise
from relay.process.tasks import end_task
from relay.process.telemetry.opening import error_reports
from relay.process.telemetry.variables import trace_options
from relay.process.timings import Timings, load_timings
from relay.store.driver.client import REDIS_ERRORS, REQUEST_TIMEOUT, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import Loaded
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

_NO_KEY = (
    "neither LINQ_API_V3_API_KEY nor LINQ_V2_TOKEN is set: nothing is registered at Linq from here; set one of "
    "them, or run relay bootstrap apply where they are set"
)
_NO_TABLE = (
    "LINQ_API_V3_API_KEY is not set, and relay.toml has no [linq.v2]: nothing is registered at Linq; set the key, or "
    "add the table to register at the v2 API alone"
)

log = structlog.get_logger()


async def run_group(ingress_processes: int, worker_processes: int) -> int:
    """Run the group until SIGTERM or SIGINT; return the exit code.

    Raises:
        SettingsError, ConfigError: the environment or relay.toml is wrong.
    """
    settings = load_all()
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        stack.enter_context(error_reports(environment_with_secrets(), "up"))
        of_children = {}
        if settings.redis_url is None:
            embedded = await stack.enter_async_context(embedded_redis(settings.relay_data_dir))
            settings = settings.model_copy(update={"redis_url": embedded.url})
            of_children["REDIS_URL"] = embedded.url
            log.info("redis.embedded", url=masked_redis_url(embedded.url), data=str(settings.relay_data_dir))
        has_accounts = bool(read_config(settings.relay_config).linq.accounts)
        if settings.linq_api_v3_api_key is None and settings.linq_v2_token is None and not has_accounts:
            log.warning("bootstrap.skipped", note=_NO_KEY)
        else:
            timings = load_timings()
            rules = ConfigFile(settings.relay_config, timings.config_poll)
            bootstrap = asyncio.create_task(_bootstrap(settings, rules, timings), name="bootstrap")
            stack.push_async_callback(end_task, bootstrap)
        redis = await stack.enter_async_context(open_store(settings, REQUEST_TIMEOUT))
        group = await stack.enter_async_context(admin_group(settings, redis, stop))
        share = ["--share-port"] if ingress_processes > 1 else []
        ingresses = group.add("ingress", python("relay", "ingress", *share), ingress_processes, of_children)
        workers = group.add("worker", python("workers"), worker_processes, of_children)
        return await supervise([*ingresses, *workers], stop, STOP_TIMEOUT + settings.relay_shutdown_delay)


def load_all() -> Settings:
    """Return the settings, with everything that `up` needs.

    Mistakes in the environment and in relay.toml are reported together.

    Raises:
        SettingsError, ConfigError: the environment or relay.toml is wrong.
    """
    problems: list[Problem] = []
    settings = None
    rules = Path(environment().get("RELAY_CONFIG", Settings.model_fields["relay_config"].default))
    try:
        settings = Settings.load("relay_secret_key", relay_public_url="linq_api_v3_api_key")
    except SettingsError as error:
        problems += error.problems
    linq = LinqConfig()
    try:
        linq = load_config(rules).config.linq
    except ConfigError as error:
        problems += error.problems
    if settings is None:
        raise SettingsError("linq-relay cannot start:", tuple(problems))
    for check in _checks(settings, linq, rules.parent):
        try:
            check()
        except SettingsError as error:
            problems += (problem for problem in error.problems if problem not in problems)
    if problems:
        raise ConfigError("linq-relay cannot start:", tuple(problems))
    return settings


def _checks(settings: Settings, linq: LinqConfig, base: Path) -> list[Callable[[], object]]:
    """Return the checks of what the accounts at Linq need; `base` is the folder of relay.toml."""
    checks: list[Callable[[], object]] = [lambda: trace_options(environment())]
    if linq.accounts:
        checks.append(lambda: settings.require("relay_public_url", because="relay.toml has [[linq.accounts]]"))
        checks += (partial(account_key, account, base) for account in linq.accounts)
    if settings.linq_api_v3_api_key is not None or (linq.accounts and settings.relay_public_url is not None):
        checks.append(lambda: public_url_of(settings))
    if linq.v2 is not None and (settings.linq_api_v3_api_key is not None or settings.linq_v2_token is not None):
        checks.append(lambda: settings.require(*V2_NEEDS, because="relay.toml has [linq.v2]"))
        if settings.relay_public_url is not None:
            checks.append(lambda: public_url_of(settings, settings.linq_v2_base_url))
    return checks


async def _bootstrap(settings: Settings, rules: ConfigFile, timings: Timings) -> None:
    """Register the lines at Linq, again after every change of relay.toml; retry until it succeeds."""
    async with rules, open_store(settings) as redis:
        applied: Loaded | None = None
        while True:
            loaded = rules.current
            if loaded is not applied:
                try:
                    applied = loaded if await _apply(settings, redis, loaded.config, timings) else None
                except (RelayError, *REDIS_ERRORS) as error:
                    log.error("bootstrap.failed", error=describe(error), again_in_s=timings.bootstrap_retry)  # noqa: TRY400
                except Exception:  # of any kind: lines that are never registered would be worse than a retry
                    log.exception("bootstrap.error", again_in_s=timings.bootstrap_retry)
            await asyncio.sleep(timings.bootstrap_retry if applied is None else timings.bootstrap_poll)


async def _apply(settings: Settings, redis: Redis, config: RelayConfig, timings: Timings) -> bool:
    """Register what relay.toml asks for, and log what was done and what was left out; False if it must be retried."""
    if settings.linq_api_v3_api_key is None and config.linq.v2 is None and not config.linq.accounts:
        log.warning("bootstrap.skipped", note=_NO_TABLE)
        return True
    results = await apply_both(settings, redis, config, lambda _: None)
    for note in results.notes:
        log.warning("bootstrap.note", note=note)
    for error in results.errors:
        log.error("bootstrap.failed", error=error, again_in_s=timings.bootstrap_retry)
    failed = [done for done in results.found if done.error]
    counts = Counter(done.step.action.value for done in results.found if not done.error)
    if results.found or not results.errors:
        log.info("bootstrap.applied", **counts, failed=len(failed))
    return not failed and not results.errors
