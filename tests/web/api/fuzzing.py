"""Fuzzing of the API: requests that schemathesis makes of the document, sent to a real `relay admin` with each token.

Half of the requests have ids of things that exist, of both teams. Every answer must be documented: its status, its
type, its headers and its schema. None may be a 5xx, or show a team's token what is the other team's.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from relay.config.settings import Settings
from relay.rules.current import Rules
from relay.services.context import Context
from relay.store.driver.client import Redis
from relay.web.api.openapi import document
from relay.web.api.operation import EVENT_STREAM
from relay.web.api.operations import OPERATIONS
from tests.forked.process import running_python
from tests.support import reserve_port
from tests.web.api.world import BLUE, KEY, RED, RULES, World, seeded

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.forked.process import BlockingFork

CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OF_BLUE = ("#blue", "blue failed", "blue-chat", "+16465550102")
"""Texts that only the team `blue` may see."""
_STREAMS = {f"{each.method} {each.path}" for each in OPERATIONS if each.media_type == EVENT_STREAM}
"""Operations whose answers have no end."""
_MAX_QUERY = 7000  # aiohttp itself refuses a URL of more than 8190 bytes, as text
_TOKENS = ("team", "operator", "team that reads", "operator who reads", "team", "operator", "revoked", "none")
"""The kinds of tokens; those that get further come more often."""
_MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@dataclass(slots=True)
class Target:
    """A running API with its world."""

    url: str
    process: subprocess.Popen[bytes] | BlockingFork
    world: World
    redis_url: str
    rules: Path
    statuses: dict[int, int] = field(default_factory=dict)
    """The number of answers, by status."""

    def memory(self) -> int:
        """Return the resident memory of the process, bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:  # noqa: PTH123  read a thousand times
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def seed(self) -> None:
        """Make the world anew."""
        self.world = asyncio.run(_seed(self.redis_url, self.rules))


async def _seed(redis_url: str, rules: Path) -> World:
    redis = Redis.from_url(redis_url)
    await redis.flushall()
    chosen = Settings(redis_url=redis_url, relay_config=rules, relay_secret_key=SecretStr(KEY))
    world = await seeded(Context(chosen, redis, Rules(chosen, redis)))
    await redis.aclose()
    return world


def environment_of(redis_url: str, rules: Path) -> dict[str, str]:
    """Return the environment of a process of the relay."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RELAY_")},
        "REDIS_URL": redis_url,
        "RELAY_CONFIG": str(rules),
        "RELAY_SECRET_KEY": KEY,
        "RELAY_API_RATE": "1000000",
        "RELAY_LOG_LEVEL": "error",
    }


@contextmanager
def serving(redis_url: str, directory: Path) -> Iterator[Target]:
    """Run `relay admin` on a seeded Redis."""
    rules = directory / "relay.toml"
    rules.write_text(RULES)
    world = asyncio.run(_seed(redis_url, rules))
    port = reserve_port()
    environment = environment_of(redis_url, rules) | {"RELAY_ADMIN_LISTEN": f"127.0.0.1:{port}"}
    with (
        (directory / "log").open("wb") as log,
        running_python("relay", "admin", environment=environment, directory=directory, log=log) as process,
    ):
        _wait(f"http://127.0.0.1:{port}/ready", process)
        yield Target(f"http://127.0.0.1:{port}/api/v1", process, world, redis_url, rules)
    text = (directory / "log").read_text()
    assert not [mistake for mistake in ("api.error", "page.failed", "Traceback") if mistake in text], text


def _wait(url: str, process: subprocess.Popen[bytes] | BlockingFork) -> None:
    until = time.monotonic() + 120
    while True:
        assert process.poll() is None, "relay admin has ended"
        try:
            if requests.get(url, timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.05)


def fuzz(target: Target, examples: int, seed: int | None = None) -> None:
    """Send about `examples` requests to each operation."""
    schema = schemathesis.openapi.from_dict(
        document(OPERATIONS).model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    )
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation: Any = cast("Any", result).ok()
            if operation.label not in _STREAMS:
                _fuzz_operation(target, operation, examples, session, seed)


def _fuzz_operation(target: Target, operation: Any, examples: int, session: requests.Session, seed: int | None) -> None:
    tokens = st.sampled_from(_TOKENS)
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in _MODES))
    teams = st.sampled_from([None, RED, RED, BLUE])

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, tokens, teams)
    def send(case: Any, token: str, team: str | None) -> None:
        if team is not None:
            _name_things_of(case, target.world.ids[team])
        assume(len(urlencode(case.query, doseq=True)) < _MAX_QUERY)
        headers = {"Authorization": f"Bearer {target.world.tokens[token]}"}
        response = case.call(base_url=target.url, session=session, headers=headers, timeout=30)
        case.validate_response(response, checks=CHECKS)
        target.statuses[response.status_code] = target.statuses.get(response.status_code, 0) + 1
        if token.startswith("team"):
            sent = repr((case.body, case.query, case.path_parameters))
            shown = [text for text in OF_BLUE if text in response.text and text not in sent]
            assert not shown, f"{token} was shown {shown} by {case.method} {case.path}: {response.text}"

    send()


def _name_things_of(case: Any, ids: dict[str, Any]) -> None:
    """Put ids of things that exist into a request, and a version that fits."""
    if case.path_parameters:
        case.path_parameters = {name: ids.get(name, value) for name, value in case.path_parameters.items()}
    if isinstance(case.body, dict):
        case.body = {name: ids.get(name, value) for name, value in case.body.items()}
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
