"""Every documented form of REDIS_URL, connected to end to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.process.embedded_redis import server_program
from relay.process.subprocesses import death_with_parent
from relay.store.driver.client import WORKER_TIMEOUT, ask, open_redis
from relay.store.rights.explanation import explain
from tests.certificates import Authority, tls_in_front_of
from tests.clusters import clusters
from tests.sentinels import sentinels
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "p@ss/w:rd#?"
ENCODED = "p%40ss%2Fw%3Ard%23%3F"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """A Redis that listens on a port and on a Unix socket, with a password and a user of its own."""
    port, socket = reserve_port(), tmp_path / "redis.sock"
    config = tmp_path / "redis.conf"
    config.write_text(
        f'port {port}\nbind 127.0.0.1\nunixsocket {socket}\ndir {tmp_path}\nsave ""\n'
        f'requirepass "{PASSWORD}"\nuser relay on ">{PASSWORD}" ~* &* +@all\n'
    )
    process = await asyncio.create_subprocess_exec(
        server_program(), str(config), stdout=asyncio.subprocess.DEVNULL, preexec_fn=death_with_parent()
    )
    try:
        await eventually(socket.exists)
        yield port, socket
    finally:
        process.kill()
        await process.wait()


async def identity(url: str) -> tuple[str, int]:
    """Return the user and the database of a client of `url`."""
    async with open_redis(url, WORKER_TIMEOUT) as redis:
        info = await ask(redis.client_info())
        await redis.set("seen", url)
        assert await redis.get("seen") == url.encode()
        return info["user"], int(info["db"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:{password}@127.0.0.1:{port}", ("default", 0)),
        ("redis://:{password}@localhost:{port}/3", ("default", 3)),
        ("redis://relay:{password}@127.0.0.1:{port}/0", ("relay", 0)),
        ("redis://relay:{password}@127.0.0.1:{port}?db=5", ("relay", 5)),
        ("unix://:{password}@{socket}", ("default", 0)),
        ("unix://relay:{password}@{socket}?db=2", ("relay", 2)),
    ],
)
async def test_plain_and_socket_urls(server: tuple[int, Path], url: str, expected: tuple[str, int]) -> None:
    port, socket = server
    assert await identity(url.format(port=port, socket=socket, password=ENCODED)) == expected


async def test_tls_urls(server: tuple[int, Path], tmp_path: Path) -> None:
    port, _ = server
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    async with tls_in_front_of(port, authority.server_context(tmp_path)) as tls_port:
        base = f"rediss://relay:{ENCODED}@127.0.0.1:{tls_port}/4"
        assert await identity(f"{base}?ssl_ca_certs={tmp_path}/ca.pem") == ("relay", 4)
        assert await identity(f"{base}?ssl_cert_reqs=none&ssl_check_hostname=false") == ("relay", 4)
        with pytest.raises(Exception, match="certificate verify failed"):
            await identity(base)
        server_name = f"{base.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={tmp_path}/ca.pem"
        with pytest.raises(Exception, match="Hostname mismatch"):  # its certificate is for 127.0.0.1
            await identity(server_name)
        assert await identity(f"{server_name}&ssl_check_hostname=false") == ("relay", 4)


async def test_tls_urls_of_sentinels_with_an_authority_of_their_own(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    context = authority.server_context(tmp_path)
    async with (
        sentinels(tmp_path / "servers", replicas=0) as topology,
        tls_in_front_of(topology.ports[0], context) as redis_port,
        tls_in_front_of(topology.sentinels[0], context, (topology.ports[0], redis_port)) as sentinel_port,
    ):
        base = f"rediss+sentinel://127.0.0.1:{sentinel_port}/relay/4"
        assert await identity(f"{base}?ssl_ca_certs={tmp_path}/ca.pem") == ("default", 4)
        for refused in (base, f"{base.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={tmp_path}/ca.pem"):
            with pytest.raises(MasterNotFoundError, match="No master found"):
                await identity(refused)


async def test_tls_urls_of_a_cluster_with_an_authority_of_its_own(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    async with (
        clusters(tmp_path / "servers", primaries=1, replicas=0) as cluster,
        tls_in_front_of(cluster.ports[0], authority.server_context(tmp_path)) as tls_port,
    ):
        await cluster.command(cluster.ports[0], "CONFIG", "SET", "cluster-announce-port", tls_port)
        await cluster.command(cluster.ports[0], "ACL", "SETUSER", "relay", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        base = f"rediss+cluster://relay:{ENCODED}@127.0.0.1:{tls_port}"
        assert await identity(f"{base}?ssl_ca_certs={tmp_path}/ca.pem") == ("relay", 0)
        assert await identity(f"{base}?ssl_cert_reqs=none&ssl_check_hostname=false") == ("relay", 0)
        with pytest.raises(RedisConnectionError, match="certificate verify failed"):
            await identity(base)
        server_name = f"{base.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={tmp_path}/ca.pem"
        with pytest.raises(RedisConnectionError, match="Hostname mismatch"):  # its certificate is for 127.0.0.1
            await identity(server_name)
        assert await identity(f"{server_name}&ssl_check_hostname=false") == ("relay", 0)
        with pytest.raises(RedisConnectionError) as caught:
            await identity(base.replace("rediss", "redis"))
        assert "TLS" in explain(caught.value).remedy
