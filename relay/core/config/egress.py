"""Where the relay may connect to: `[egress]` in relay.toml, and what is refused whatever it says.

The check is on a name *and* the address that it has just been resolved to, so that a name cannot change its mind
between the check and the connection.

    never          link-local and metadata, multicast, unspecified, broadcast, reserved; in every embedding
    only if named  loopback: the url has the address, or `localhost`; a name that resolves to it is refused
    allow          if it is there, the host or the address has to be in it
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from relay.core.addresses import address_of, kind_never_met, meanings
from relay.core.config.fields import Table

if TYPE_CHECKING:
    from relay.core.addresses import Address, Network

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BELOW = "*."


def normal_host(host: str) -> str:
    """`host` as it is compared: lower case, ASCII (IDNA), without the dot of the root."""
    if not host.isascii():
        with suppress(UnicodeError):  # it cannot be resolved either
            host = host.encode("idna").decode()
    return host.lower().removesuffix(".")


def _ends_in_a_number(host: str) -> bool:
    """Whether `host` can only be an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _network(text: str) -> Network | None:
    """The network or address that `text` spells; None for a host.

    Raises:
        ValueError: it has bits beyond its mask.
    """
    with suppress(ValueError):
        return ip_network(text)
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return None
    raise ValueError(f'"{text}" has bits beyond its mask; did you mean "{meant}"?')


def _destination(text: str) -> str:
    if network := _network(text):
        return str(network)
    host = normal_host(text)
    if not _HOST.fullmatch(host) or _ends_in_a_number(host):
        raise ValueError(
            f'"{text}" is not a destination; write a host ("hooks.example.com"), all below one ("*.internal"), '
            'an address or a network ("10.0.0.0/8")'
        )
    return host


class Egress(Table):
    """The `[egress]` table."""

    allow: Annotated[tuple[Annotated[str, AfterValidator(_destination)], ...] | None, Field(min_length=1)] = None
    """Hosts, names below one, addresses and networks; None for every destination that is not refused anyway."""

    @cached_property
    def _networks(self) -> tuple[Network, ...]:
        return tuple(network for one in self.allow or () if (network := _network(one)))

    @cached_property
    def _hosts(self) -> frozenset[str]:
        return frozenset(one for one in self.allow or () if _network(one) is None)

    def refusal(self, host: str, address: Address) -> str | None:
        """Why nothing is sent to `host` at `address`, in a sentence; None if it may be."""
        stands_for = meanings(address)
        named = normal_host(host)
        for meant in stands_for:
            if kind := kind_never_met(meant):
                return f"{_told(named, address, meant)} is {kind}, where the relay never connects to"
            if meant.is_loopback and not _names_loopback(named):
                return f"{_told(named, address, meant)} is loopback, which the url has to name itself"
        if self.allow is None or self._has_host(named) or self._has_address(stands_for):
            return None
        return f"{_told(named, address, address)} is not in allow of [egress]"

    def url_refusal(self, url: str) -> str | None:
        """Why nothing can ever be sent to `url`, whatever its host resolves to; None if that depends.

        Raises:
            ValueError: it is no URL.
        """
        written = urlsplit(url).hostname or ""
        host = normal_host(written)
        address = address_of(host)
        if _ends_in_a_number(host) and (address is None or written.endswith(".")):
            return f"{written} is an odd spelling of an address; write it as four numbers, such as 10.0.0.7"
        if address is not None:
            return self.refusal(host, address)
        if self.allow is None or self._networks or self._has_host(host):
            return None
        return f"{host} is not in allow of [egress]"

    def _has_host(self, host: str) -> bool:
        labels = host.split(".")
        above = (_BELOW + ".".join(labels[start:]) for start in range(1, len(labels)))
        return not self._hosts.isdisjoint((host, *above))

    def _has_address(self, stands_for: tuple[Address, ...]) -> bool:
        address, *embedded = stands_for
        return self._covers(address) or (bool(embedded) and all(map(self._covers, embedded)))

    def _covers(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _names_loopback(host: str) -> bool:
    address = address_of(host)
    return host == "localhost" if address is None else any(meant.is_loopback for meant in meanings(address))


def _told(host: str, address: Address, meant: Address) -> str:
    """Which destination is spoken of, as far as it does not go without saying."""
    said = str(address) if meant == address else f"{address} (that is {meant})"
    return said if address_of(host) == address else f"{host} at {said}"
