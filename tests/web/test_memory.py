"""Memory of refused requests: it is freed with their connection, without a run of the cyclic garbage collector."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.chaos.wire import read_message
from tests.garbage import ignore_former_objects
from tests.web.wire import connection, request_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Running

SIZE = 50_000  # bytes of a body
TIMES = 20
WRONG = "v1," + 43 * "A" + "="
REFUSED = {
    "wrong signature": request_of(size=SIZE, webhook_signature=WRONG),
    "wrong signature, through aiohttp": request_of(size=SIZE, webhook_signature=WRONG, Expect="100-continue"),
    "no HTTP": request_of(size=SIZE).replace(b"Host: x", b"Host x"),
    "no HTTP after a request": request_of() + request_of(size=SIZE).replace(b"Host: x", b"Host x"),
}


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace memory, and let no cycle be collected."""
    ignore_former_objects()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED.keys())
async def test_refused_request_is_freed_at_once(ingress: Running, request_bytes: bytes) -> None:
    async def send() -> None:
        async with connection(ingress.port) as (reader, writer):
            writer.write(request_bytes)
            writer.write_eof()
            assert (await read_message(reader)).status in {100, 200, 400, 401, 429}
            await reader.read()

    for _ in range(3):
        await send()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(TIMES):
        await send()
    after, _ = tracemalloc.get_traced_memory()
    assert (after - before) / TIMES < SIZE / 10
