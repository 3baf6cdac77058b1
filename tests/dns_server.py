"""A name server on loopback that knows some names, denies some, and is silent about some."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_A = 1
_ANSWER, _SERVFAIL, _NXDOMAIN = 0x8180, 0x8182, 0x8183


@dataclass
class DnsServer(asyncio.DatagramProtocol):
    """Answers by the first label of a name: `silent` or in `silent`, `none`, `fail`, or else with `address`."""

    address: str = "127.0.0.1"
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    is_silent: bool = False
    silent: set[str] = field(default_factory=set)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        question, kind = data[12:end], struct.unpack("!H", data[end - 4 : end - 2])[0]
        label = question[1 : 1 + question[0]].decode()  # empty for the root
        if kind == _A:
            self.asked[label] += 1
        if self.is_silent or label.startswith("silent") or label in self.silent:
            return
        flags = {"none": _NXDOMAIN, "fail": _SERVFAIL}.get(label, _ANSWER)
        answers = b""
        if flags == _ANSWER and kind == _A:
            address = ipaddress.IPv4Address(self.address).packed
            answers = b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 60, len(address)) + address
        header = data[:2] + struct.pack("!HHHHH", flags, 1, int(bool(answers)), 0, 0)
        self._transport.sendto(header + question + answers, sender)


@asynccontextmanager
async def dns_server(address: str = "127.0.0.1") -> AsyncIterator[DnsServer]:
    """A name server that listens, and answers with `address`."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: DnsServer(address), local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
