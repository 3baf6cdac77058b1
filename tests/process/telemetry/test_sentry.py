"""Errors at a real endpoint, in Sentry's envelope format; what is scrubbed, and what is not sent."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from relay.core.errors import StoreUnavailable
from relay.process.build import VERSION, revision
from relay.process.logs import configure_logging
from relay.process.telemetry.opening import error_reports
from relay.process.telemetry.scrubbing import LEFT_OUT, Scrubber
from tests.collectors import error_tracker

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET_VARIABLES = {"RELAY_SECRET_KEY": "sesame-sesame", "REDIS_URL": "redis://:hunter2@redis:6379"}
BODY = "a private text to +13035550188"


def raise_while_handling(error: Exception, body: str) -> None:
    raise error from ValueError(f"invalid literal: {body}")


async def reported(log: Callable[[Any], None], **variables: str) -> list[dict[str, Any]]:
    """Return the events that arrive for what `log` logs."""
    async with error_tracker() as tracker:
        configure_logging("info", "json")
        reports = error_reports({"SENTRY_DSN": tracker.dsn, **SECRET_VARIABLES, **variables}, "worker")
        reports.__enter__()
        log(structlog.get_logger())
        await asyncio.to_thread(reports.__exit__, None, None, None)
    body = b"".join(tracker.bodies).decode()
    for private in ("private text", "+1303", "sesame", "hunter2", "gen=1", "whsec_"):
        assert private not in body
    return tracker.events


async def test_exception_arrives_with_its_stack_and_scrubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_REVISION", "0123456789abcdef")
    revision.cache_clear()

    def log(logger: Any) -> None:
        try:
            error = StoreUnavailable(
                f"redis://:hunter2@redis:6379/?gen=1 of +16465550123 with whsec_AAECAwQ {'sesame-' * 2}"
            )
            raise_while_handling(error, BODY)
        except StoreUnavailable:
            logger.exception("event.error", id="e1", trace_id="ab" * 16, line="+16465550123", body=BODY, status=500)

    [event] = await reported(log, SENTRY_ENVIRONMENT="staging")
    cause, error = event["exception"]["values"]
    assert (error["type"], error["module"]) == ("StoreUnavailable", "relay.core.errors")
    assert error["value"].startswith("redis://redis:6379/?[query] of [number] with [secret] ")
    assert (cause["type"], cause["value"]) == ("ValueError", LEFT_OUT)
    frame = error["stacktrace"]["frames"][-1]
    assert frame["function"] == "raise_while_handling"
    assert "vars" not in frame
    assert event["tags"] == {"event": "event.error", "trace_id": "ab" * 16, "role": "worker"}
    assert event["extra"] == {"id": "e1", "status": 500}
    assert (event["environment"], event["level"]) == ("staging", "error")
    assert event["release"] == f"linq-relay@{VERSION}+0123456789ab"
    revision.cache_clear()


async def test_error_without_exception_arrives_with_its_place() -> None:
    def log(logger: Any) -> None:
        logger.info("event.accepted", id="e1")
        logger.warning("redis.waiting")
        logger.error("topic.overflowed", topic="support", lost=5, reason="dropped +13035550188?gen=1")
        logging.getLogger("aiohttp.server").error("Error handling request from %s", BODY)

    first, second = await reported(log)
    assert first["message"] == "topic.overflowed"
    assert first["extra"] == {"topic": "support", "lost": 5, "reason": "dropped [number]?[query]"}
    functions = [frame["function"] for frame in first["threads"]["values"][0]["stacktrace"]["frames"]]
    assert "log" in functions
    assert second["message"] == "Error handling request from %s"


async def test_error_that_comes_with_each_event_is_sent_30_times() -> None:
    def log(logger: Any) -> None:
        for _ in range(50):
            logger.error("event.quarantined")
        logger.error("event.poisoned")

    messages = [event["message"] for event in await reported(log)]
    assert (messages.count("event.quarantined"), messages.count("event.poisoned")) == (30, 1)


async def test_error_that_ends_the_process_is_sent() -> None:
    async with error_tracker() as tracker:
        variables = {"SENTRY_DSN": tracker.dsn}

        def fail() -> None:
            with error_reports(variables, "worker"):
                raise KeyError(BODY)

        with pytest.raises(KeyError):
            await asyncio.to_thread(fail)
    [event] = tracker.events
    assert (event["tags"]["event"], event["exception"]["values"][0]["type"]) == ("process.failed", "KeyError")
    assert "private" not in json.dumps(event)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("no secret is stored for +16465550123", "no secret is stored for [number]"),
        ("called (303) 555-0188 twice", "called ([number] twice"),
        ("https://user:pw@hooks.example.com/a?token=x&b failed", "https://hooks.example.com/a?[query] failed"),
        ("from ana@example.com to whsec_AAEC/=", "from [address] to [secret]"),
        ("event 5f607182-93a4-4b5c-86e7-f8091a2b3c45 at 1789377302000-0", None),
        ("relay.toml:14 topics[1]: 12 of 300", None),
    ],
)
def test_text_is_scrubbed(text: str, scrubbed: str | None) -> None:
    assert Scrubber({}).text(text) == (scrubbed or text)
