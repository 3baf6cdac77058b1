"""Set-up of the demo: all parts, started in order and stopped in reverse.

embedded Redis -> sandbox -> relay.toml -> bootstrap -> two teams -> ingress, worker and admin (processes of their own)

The first part that fails to start ends the demo; the parts that are already running are stopped.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from relay.bootstrap.looks import Looks
from relay.bootstrap.reconciling.v3 import Reconciler
from relay.config.file import read_config
from relay.config.secrets.files import file_variable
from relay.config.settings import Settings
from relay.core.access.principal import Principal
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import RelayError
from relay.core.secret import SigningSecret, new_key, new_secret
from relay.demo.teams import TeamStats, archive_team, helpdesk_app
from relay.linq.api.v3 import open_linq
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.process.embedded_redis import embedded_redis
from relay.process.subprocesses import python, reserved_port
from relay.process.supervisor import Program, supervise
from relay.rules.current import Rules
from relay.sandbox.app import Sandbox, open_sandbox, sandbox_app
from relay.services.account.tokens import sign_in_code
from relay.services.context import Context
from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.store.driver.client import Redis

LINES = ("+16465550123", "+16465550124", "+16465550125")
_API_KEY = "demo-key"
_LOCALHOST = "127.0.0.1"
_ANY_PORT = Listen(host=_LOCALHOST, port=0)
_READY_TIMEOUT = 60.0  # seconds; 30 were too few for a first start, which compiles, on a busy machine

_RELAY_TOML = """\
[[topics]]
name = "support"
events = ["message.received", "message.failed", "reaction.*"]
lines = ["+16465550123", "+16465550124"]

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "helpdesk"
topic = "support"
url = "http://127.0.0.1:{port}/linq"
secret = "env:HELPDESK_SECRET"
retry = ["500ms", "1s", "2s", "4s", "8s"]
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The running parts of the demo."""

    sandbox: Sandbox
    redis: Redis
    helpdesk: TeamStats
    archive: TeamStats
    log: Path
    public_url: str
    page: str
    """The address of the page, with a code that signs in once."""


@asynccontextmanager
async def set_stage(seed: int, on_step: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Start all parts and yield once the relay is ready for events; `on_step` gets the text of each finished step."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="linq-relay-demo-")))
        ingress_port = stack.enter_context(reserved_port())  # known to Linq before the ingress runs
        page_port = stack.enter_context(reserved_port())
        key, secret = new_key(), SigningSecret(new_secret())
        embedded = await stack.enter_async_context(embedded_redis(home / "redis"))
        redis = open_redis(embedded.url, WORKER_TIMEOUT)
        stack.push_async_callback(redis.aclose)
        on_step(f"Redis (embedded) on port {embedded.port}")

        sandbox = await stack.enter_async_context(open_sandbox(LINES, speed=20, seed=seed))
        linq = sandbox_app(sandbox, _API_KEY, allow_local=True)
        linq_port = await stack.enter_async_context(listening(linq, _ANY_PORT))
        on_step(f"Linq (sandbox) with {len(LINES)} lines on port {linq_port}")

        helpdesk, archive = TeamStats(), TeamStats()
        rng = random.Random(seed)  # noqa: S311  a simulation, not a secret
        app = helpdesk_app(secret, helpdesk, time.time, rng)
        helpdesk_port = await stack.enter_async_context(listening(app, _ANY_PORT))
        config_file = home / "relay.toml"
        config_file.write_text(_RELAY_TOML.format(port=helpdesk_port), encoding="utf-8")
        public_url = f"http://{_LOCALHOST}:{ingress_port}"
        linq_url = f"http://{_LOCALHOST}:{linq_port}/api/partner"
        async with open_linq(_API_KEY, linq_url) as api:
            keyring, looks = Keyring(redis, Cipher(key)), Looks(redis, "v3", time.time)
            reconciler = Reconciler(api, keyring, looks, read_config(config_file), public_url, time.time)
            steps = await reconciler.apply(lambda _: None)
        if failed := [step.error for step in steps if step.error]:
            raise RelayError(f"bootstrap failed: {failed[0]}")
        on_step(f"bootstrap registered {len(LINES)} lines and the account at Linq, each on its own URL")

        await stack.enter_async_context(archive_team(embedded.url, "everything", archive))
        on_step("two teams: helpdesk (HTTP, fails at times) and archive (reads a stream)")

        environment = _environment(embedded.url, key, public_url, config_file) | {"HELPDESK_SECRET": secret.text}
        admin = {
            **environment,
            "RELAY_ADMIN_LISTEN": f"{_LOCALHOST}:{page_port}",
            "LINQ_API_V3_API_KEY": _API_KEY,
            "LINQ_API_V3_BASE_URL": linq_url,
        }
        log = home / "relay.log"
        await stack.enter_async_context(_processes(environment, admin, log))
        await _wait_until_ready(f"http://{_LOCALHOST}:{ingress_port}/ready", log)
        on_step(f"ingress and worker running on port {ingress_port}")
        page = f"http://{_LOCALHOST}:{page_port}"
        await _wait_until_ready(f"{page}/ready", log)
        link = f"{page}/sign-in?code={await _sign_in_code(embedded.url, config_file, redis)}"
        on_step(f"the page: {link}")
        yield Stage(sandbox, redis, helpdesk, archive, log, public_url, link)


def _environment(redis_url: str, key: str, public_url: str, config_file: Path) -> dict[str, str]:
    """Return the variables of the relay's processes."""
    return {
        **dict.fromkeys(map(file_variable, Settings.secrets()), ""),  # those of the caller do not count
        **dict.fromkeys(("REDIS_USERNAME", "REDIS_PASSWORD", "RELAY_KEY_PREFIX"), ""),
        "REDIS_URL": redis_url,
        "RELAY_SECRET_KEY": key,
        "RELAY_PUBLIC_URL": public_url,
        "RELAY_LISTEN": public_url.removeprefix("http://"),
        "RELAY_ADMIN_LISTEN": f"{_LOCALHOST}:0",
        "RELAY_CONFIG": str(config_file),
        "RELAY_LOG_FORMAT": "json",
    }


async def _sign_in_code(redis_url: str, config_file: Path, redis: Redis) -> str:
    """Return a code that signs in to the page once, as an operator."""
    settings = Settings(redis_url=redis_url, relay_config=config_file)
    context = Context(settings, redis, Rules(settings, redis))
    return await sign_in_code(context, Principal("demo", None, EVERY_SCOPE))


@asynccontextmanager
async def _processes(environment: dict[str, str], admin: dict[str, str], log: Path) -> AsyncIterator[None]:
    stop = asyncio.Event()
    programs = [
        Program("ingress", python("relay", "ingress"), environment, log),
        Program("worker", python("workers"), environment, log),
        Program("admin", python("relay", "admin"), admin, log),
    ]
    task = asyncio.create_task(supervise(programs, stop), name="relay")
    try:
        yield
    finally:
        stop.set()
        await task


async def _wait_until_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:]) if log.exists() else ""
    raise RelayError(f"the relay was not ready within {_READY_TIMEOUT:.0f} s; end of its log:\n{tail}")
