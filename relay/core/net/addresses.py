"""Meanings of an IP address (itself, and an IPv4 address embedded in it), and the networks that are always refused.

A gateway on the way (NAT64, 6to4, Teredo) or the operating system (IPv4-mapped) turns an IPv6 address back into the
IPv4 one, so an address that is refused in one form must be refused in all.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = "a cloud metadata service"
_REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        METADATA,
        (
            "169.254.169.254",
            "fd00:ec2::/32",  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
            "fd20:ce::254",  # https://cloud.google.com/compute/docs/metadata/querying-metadata
            "168.63.129.16",  # https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16
            "100.100.100.200",  # https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
            "192.0.0.192",  # https://docs.oracle.com/en-us/iaas/Content/Compute/Tasks/gettingmetadata.htm
        ),
    ),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("broadcast", ("255.255.255.255",)),
    ("reserved", ("240.0.0.0/4",)),
)
_NEVER = tuple((kind, tuple(map(ip_network, networks))) for kind, networks in _REFUSED)

_LAST_32_BITS = tuple(
    map(
        IPv6Network,
        (
            "::ffff:0:0/96",  # IPv4-mapped (RFC 4291)
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
            "::/96",  # IPv4-compatible (RFC 4291)
            "64:ff9b::/96",  # NAT64 (RFC 6052)
        ),
    )
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_NOT_EMBEDDED = {IPv6Address("::"), IPv6Address("::1")}


@lru_cache(4096)  # called for every request's host, of which there are few
def address_of(text: str) -> Address | None:
    """Parse `text` as an address, without its zone; None if it is a name."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return type(address)(int(address))


def kind_never_met(address: Address) -> str | None:
    """Return the kind of `address` if it is always refused; None if it may be connected to."""
    for kind, networks in _NEVER:
        if any(address in network for network in networks):
            return kind
    return None


def meanings(address: Address) -> tuple[Address, ...]:
    """Return `address` and every IPv4 address that it may be translated to on the way."""
    if isinstance(address, IPv4Address):
        return (address,)
    return (address, *_embedded(address))


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    bits = int(address)
    last = IPv4Address(bits & 0xFFFFFFFF)
    if address.sixtofour is not None:  # 2002::/16 (RFC 3056)
        yield address.sixtofour
    elif address.teredo is not None:  # 2001::/32 (RFC 4380): the server, and the client behind its NAT
        yield from address.teredo
    elif address in _LOCAL_NAT64:
        yield from _locally_translated(bits, last)
    elif address not in _NOT_EMBEDDED and any(address in network for network in _LAST_32_BITS):
        yield last


def _locally_translated(bits: int, last: IPv4Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses for the two usual prefix lengths in 64:ff9b:1::/48 (RFC 6052, 2.2).

    With 96 bits the address is at the end. With 48 it is after the prefix, around the eight bits that are always zero.
    """
    after_48 = (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF
    if after_48:
        yield IPv4Address(after_48)
    if not after_48 or int(last):
        yield last
