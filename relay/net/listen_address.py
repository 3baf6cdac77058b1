"""Addresses to listen on."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  a container's port is published on purpose
_LAST_PORT = 65535


class Listen(BaseModel):
    """An address to listen on."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Parse HOST:PORT.

    Raises:
        ValueError: it is not HOST:PORT.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > _LAST_PORT:
        raise ValueError(f'"{text}" is not HOST:PORT, such as 0.0.0.0:8080')
    return Listen(host=host.strip("[]") or EVERY_ADDRESS, port=int(port))
