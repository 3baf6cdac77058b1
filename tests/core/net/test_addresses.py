"""Addresses: every embedding of an IPv4 address in IPv6 is checked like the address itself."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.net.addresses import address_of, kind_never_met, meanings
from tests.properties import quick

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLIC_SERVER = int(IPv4Address("198.51.100.1"))

EMBEDDINGS: dict[str, Callable[[IPv4Address], IPv4Address | IPv6Address]] = {
    "itself": lambda v4: v4,
    "mapped": lambda v4: IPv6Address(0xFFFF << 32 | int(v4)),
    "translated": lambda v4: IPv6Address(0xFFFF << 48 | int(v4)),
    "NAT64": lambda v4: IPv6Address(int(IPv6Address("64:ff9b::")) | int(v4)),
    "local NAT64, 96 bits": lambda v4: IPv6Address(int(IPv6Address("64:ff9b:1::")) | int(v4)),
    "local NAT64, 48 bits": lambda v4: IPv6Address(
        int(IPv6Address("64:ff9b:1::")) | (int(v4) >> 16) << 64 | (int(v4) & 0xFFFF) << 40
    ),
    "6to4": lambda v4: IPv6Address(0x2002 << 112 | int(v4) << 80 | 1),
    "Teredo, client": lambda v4: IPv6Address(0x20010000 << 96 | PUBLIC_SERVER << 64 | int(v4) ^ 0xFFFFFFFF),
    "Teredo, server": lambda v4: IPv6Address(0x20010000 << 96 | int(v4) << 64 | PUBLIC_SERVER ^ 0xFFFFFFFF),
}
COMPATIBLE: dict[str, Callable[[IPv4Address], IPv4Address | IPv6Address]] = {
    "compatible": lambda v4: IPv6Address(int(v4))  # except :: and ::1, which have their own meaning
}

REFUSED = ["169.254.0.0/16", "224.0.0.0/4", "0.0.0.0/8", "240.0.0.0/4"]
METADATA = ["169.254.169.254", "100.100.100.200", "192.0.0.192"]

refused = st.one_of(
    *(st.ip_addresses(v=4, network=network) for network in REFUSED), st.sampled_from(METADATA).map(IPv4Address)
)
public = st.ip_addresses(v=4).filter(lambda address: address.is_global and not address.is_multicast)


def kinds(address: IPv4Address | IPv6Address) -> list[str]:
    """Return the reasons why `address` is refused, over all its embedded addresses."""
    return [kind for meant in meanings(address) if (kind := kind_never_met(meant))]


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@quick
@given(v4=refused)
def test_refused_address_is_refused_in_every_embedding(embedding: str, v4: IPv4Address) -> None:
    assert kinds(EMBEDDINGS[embedding](v4))


@pytest.mark.parametrize("embedding", EMBEDDINGS | COMPATIBLE)
@quick
@given(v4=public)
def test_public_address_is_allowed_in_every_embedding(embedding: str, v4: IPv4Address) -> None:
    embedded = (EMBEDDINGS | COMPATIBLE)[embedding](v4)
    assert v4 in meanings(embedded)
    assert not kinds(embedded)


@quick
@given(v4=refused.filter(lambda v4: int(v4) > 1))
def test_refused_address_is_refused_as_ipv4_compatible(v4: IPv4Address) -> None:
    assert kinds(COMPATIBLE["compatible"](v4))


@quick
@given(v4=st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_loopback_is_detected_in_every_embedding(v4: IPv4Address) -> None:
    for embed in (EMBEDDINGS | COMPATIBLE).values():
        assert any(meant.is_loopback for meant in meanings(embed(v4)))


@quick
@given(v6=st.ip_addresses(v=6, network="fe80::/10") | st.ip_addresses(v=6, network="ff00::/8"))
def test_ipv6_link_local_and_multicast_are_refused(v6: IPv6Address) -> None:
    assert kinds(v6)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("169.254.169.254", "a cloud metadata service"),
        ("fd00:ec2::254", "a cloud metadata service"),
        ("fd00:ec2::23", "a cloud metadata service"),
        ("100.100.100.200", "a cloud metadata service"),
        ("192.0.0.192", "a cloud metadata service"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),  # noqa: S104
        ("::", "unspecified"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("8.8.8.8", None),
        ("10.0.0.1", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("2606:4700::1111", None),
        ("fd00::1", None),
    ],
)
def test_refused_address_has_a_kind(text: str, kind: str | None) -> None:
    address = address_of(text)
    assert address is not None
    assert kind_never_met(address) == kind


def test_loopback_and_unspecified_are_not_embedded_addresses() -> None:
    assert [meanings(IPv6Address(text)) for text in ("::", "::1")] == [(IPv6Address("::"),), (IPv6Address("::1"),)]


@pytest.mark.parametrize("text", ["", "a.b", "127.1", "2130706433", "0x7f.1", "1.2.3.4.", "01.2.3.4", "[::1]"])
def test_abbreviated_address_is_not_an_address(text: str) -> None:
    assert address_of(text) is None
