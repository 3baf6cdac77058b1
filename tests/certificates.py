"""TLS servers on loopback, and certificates for them."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.chaos.wire import read_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Authority:
    """Certificate authority that no client trusts by default."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("tests")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        draft = _draft(self._name, self._name, self._key).add_extension(constraints, critical=True)
        signed = draft.sign(self._key, hashes.SHA256())
        self.pem = signed.public_bytes(Encoding.PEM).decode()

    def server_context(self, directory: Path, address: str = "127.0.0.1") -> ssl.SSLContext:
        """Return the TLS context of a server at `address`; its files are written to `directory`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        signed = (
            _draft(_name(address), self._name, key)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = directory / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + signed.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )


@asynccontextmanager
async def tls_server(authority: Authority, directory: Path) -> AsyncIterator[tuple[str, list[object]]]:
    """Start a server with a certificate of `authority` that responds 204; yield its URL and its connections."""
    connections: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            while True:
                await read_message(reader)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_context(directory))
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", connections


@asynccontextmanager
async def tls_in_front_of(port: int, context: ssl.SSLContext, replies: tuple[int, int] = (0, 0)) -> AsyncIterator[int]:
    """Open a TLS proxy for `port`; in its replies, the first port of `replies` becomes the second."""
    before, after = (str(number).encode() for number in replies)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.replace(before, after) if len(before) > 1 else data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
