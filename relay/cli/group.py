"""`relay up`: one supervised group on one machine."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from relay.child import python
from relay.config_file import load_config
from relay.core.errors import ConfigError, Problem, RelayError, SettingsError
from relay.event_loop import stop_on_signals
from relay.parts import open_store
from relay.settings import Settings, environment, masked_url
from relay.store.connect import RedisTrouble
from relay.store.embedded import embedded_redis
from relay.supervise import Program, supervise
from relay.tasks import end_task
from relay.telemetry import configure_logging

if TYPE_CHECKING:
    from collections.abc import Sequence

_BOOTSTRAP_PAUSE = 15.0  # seconds between two attempts to reach Linq

log = structlog.get_logger()


async def run_group(ingress_processes: int, worker_processes: int) -> int:
    """Runs the group until SIGTERM or SIGINT; the exit code.

    Raises:
        SettingsError, ConfigError: the environment or relay.toml is wrong.
    """
    settings = load_all()
    configure_logging(settings.relay_log_level, settings.relay_log_format)
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        environment = {}
        if settings.redis_url is None:
            embedded = await stack.enter_async_context(embedded_redis(settings.relay_data_dir))
            settings = settings.model_copy(update={"redis_url": embedded.url})
            environment["REDIS_URL"] = embedded.url
            log.info("redis.embedded", url=masked_url(embedded.url), data=str(settings.relay_data_dir))
        if settings.linq_api_v3_api_key is not None:
            bootstrap = asyncio.create_task(_bootstrap(settings), name="bootstrap")
            stack.push_async_callback(end_task, bootstrap)
        share = ["--share-port"] if ingress_processes > 1 else []
        return await supervise(
            [
                *_programs("ingress", python("relay", "ingress", *share), ingress_processes, environment),
                *_programs("worker", python("workers"), worker_processes, environment),
            ],
            stop,
        )


def load_all() -> Settings:
    """The settings, with everything that `up` needs; mistakes in the environment and in relay.toml are told together.

    Raises:
        SettingsError, ConfigError: what is wrong.
    """
    problems: list[Problem] = []
    settings = None
    rules = Path(environment().get("RELAY_CONFIG", Settings.model_fields["relay_config"].default))
    try:
        settings = Settings.load("relay_secret_key", relay_public_url="linq_api_v3_api_key")
    except SettingsError as error:
        problems += error.problems
    try:
        load_config(rules)
    except ConfigError as error:
        problems += error.problems
    if settings is None:
        raise SettingsError("linq-relay cannot start:", tuple(problems))
    if problems:
        raise ConfigError("linq-relay cannot start:", tuple(problems))
    return settings


def _programs(name: str, arguments: Sequence[str], count: int, environment: dict[str, str]) -> list[Program]:
    return [Program(name, arguments, environment) for _ in range(count)]


async def _bootstrap(settings: Settings) -> None:
    """Registers the lines at Linq, trying again for as long as Linq or Redis cannot be reached."""
    from relay.bootstrap.open import open_reconciler

    while True:
        try:
            config = load_config(settings.relay_config).config
            async with open_store(settings) as redis, open_reconciler(settings, redis, config) as reconciler:
                failed = [done for done in await reconciler.apply(lambda _: None) if done.error]
        except (SettingsError, ConfigError) as error:
            log.error("bootstrap.impossible", problem=str(error))  # noqa: TRY400  a sentence for a person, not a bug
            return
        except (RelayError, *RedisTrouble) as error:
            log.error("bootstrap.failed", error=str(error), again_in_s=_BOOTSTRAP_PAUSE)  # noqa: TRY400  as above
        else:
            if not failed:
                return
        await asyncio.sleep(_BOOTSTRAP_PAUSE)
