"""The settings of a command that uses Redis: from REDIS_URL, or else from the embedded Redis in the data directory."""

from __future__ import annotations

from pathlib import Path

from relay.config.secrets.files import file_variable
from relay.config.settings import Settings, environment
from relay.core.errors import Problem, SettingsError
from relay.process.embedded_redis import Embedded, running


def load_settings(*needs: str) -> Settings:
    """Load the settings with a Redis URL: REDIS_URL, or else that of the embedded Redis on the data directory.

    Raises:
        SettingsError: variables are wrong or missing, REDIS_URL among them; names each of them.
    """
    embedded, problem = _redis()
    problems = () if problem is None else (problem,)
    try:
        settings = Settings.load(*needs)
    except SettingsError as error:
        raise SettingsError(error.heading, (*problems, *error.problems)) from None
    if problems:
        raise SettingsError("The environment is not complete:", problems)
    return settings if embedded is None else settings.model_copy(update={"redis_url": embedded.url})


def redis_problem() -> Problem | None:
    """Return the reason why a command would have no Redis to use; None if it has one."""
    return _redis()[1]


def _redis() -> tuple[Embedded | None, Problem | None]:
    """Return the embedded Redis if that is to be used, and the reason if there is none at all."""
    variables = environment()
    if not variables.keys().isdisjoint({"REDIS_URL", file_variable("redis_url")}):
        return None, None
    data_dir = Path(variables.get("RELAY_DATA_DIR", Settings.model_fields["relay_data_dir"].default))
    if (embedded := running(data_dir)) is not None:
        return embedded, None
    message = f"not set, and no embedded Redis runs in {data_dir}; set it, or start one with `relay up`"
    return None, Problem("REDIS_URL", message)
