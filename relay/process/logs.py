"""Logs: one wide structured line per unit of work, as JSON or, on a terminal, as readable text.

A field without a value is left out. Secrets and message text never reach a log: lines carry ids, types, lines, outcomes
and times, and `SigningSecret`, `SecretStr` and bodies are never passed to it. Logs of libraries are rendered the same
way, from warnings up.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import structlog
from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_QUIET = ("arq", "aiohttp", "httpx", "httpcore", "asyncio")

_COUNTED = {"warning": "warning", "error": "error", "critical": "error"}

Format = Literal["auto", "json", "console"]

logged: Counter[str] = Counter({"warning": 0, "error": 0})
"""The number of warnings and errors that were logged; one for the process, as its logging is."""


def configure_logging(level: str, log_format: Format) -> None:
    """Send all logs to standard error; standard output is for the results of commands."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer(_to_text) if as_json else _to_console()
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        _count,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.INFO), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _count(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if level := _COUNTED.get(fields["level"]):
        logged[level] += 1
    return fields


def _to_console() -> structlog.types.Processor:
    renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

    def render(logger: Any, method: str, fields: MutableMapping[str, Any]) -> str:
        return renderer(logger, method, _with_values(fields))

    return render


def _to_text(fields: MutableMapping[str, Any], **_: object) -> str:
    text = to_json(fields, fallback=str)
    if (
        b":null" in text
    ):  # searching the text costs a tenth of looking at each field, and a line is logged for each event
        text = to_json(_with_values(fields), fallback=str)
    return text.decode()


def _with_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the fields that have no value: an attempt after which nothing is dead has no `dead`."""
    return {name: value for name, value in fields.items() if value is not None}
