"""Destinations that the relay may connect to: `[egress]` in relay.toml, and the addresses that are always refused.

The check takes a host name *and* the address that it was just resolved to, so that DNS cannot change the address
between the check and the connection (DNS rebinding).

    never          link-local and metadata, multicast, unspecified, broadcast, reserved; in every embedding
    only if named  loopback: the url must contain the address or `localhost`; a name that resolves to it is refused
    allow          if the key is present, the host or the address must be in it
    of a team      if it has a list (`[[teams]]`), the host or the address must be in that too
    made by a team  loopback, named or not, only with one of these lists: it is the relay's own machine
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from relay.core.config.fields import Table
from relay.core.net.addresses import address_of, kind_never_met, meanings
from relay.core.net.masked_url import masked_url

if TYPE_CHECKING:
    from relay.core.net.addresses import Address, Network

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WILDCARD = "*."


def normal_host(host: str) -> str:
    """Normalize `host` for comparison: lower case, ASCII (IDNA), without the dot of the root."""
    if not host.isascii():
        with suppress(UnicodeError):  # a host that IDNA rejects cannot be resolved either
            host = host.encode("idna").decode()
    return host.lower().removesuffix(".")


def _ends_in_a_number(host: str) -> bool:
    """Return True if `host` can only be an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _network(text: str) -> Network | None:
    """Parse `text` as a network or an address; None for a host.

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
            f'"{masked_url(text)}" is not a destination; write a host ("hooks.example.com"), all names below a domain '
            '("*.internal"), an address or a network ("10.0.0.0/8")'
        )
    return host


Destination = Annotated[str, AfterValidator(_destination)]


class Egress(Table):
    """The `[egress]` table: the destinations that push deliveries may connect to.

    Without it, events may go to every `url` of the file, except addresses that are always refused: cloud metadata,
    link-local, multicast and the like.
    """

    allow: Annotated[tuple[Destination, ...], Field(min_length=1)] | None = None
    """Allowed destinations: hosts, names below a domain, addresses and networks, such as `["hooks.example.com",
    "*.internal", "10.0.0.0/8", "2001:db8::/32"]`. Absent: every destination that is not always refused.
    """

    @property
    def _list(self) -> str:
        """The place of the list, for errors."""
        return "allow of [egress]"

    @cached_property
    def _networks(self) -> tuple[Network, ...]:
        return tuple(network for destination in self.allow or () if (network := _network(destination)))

    @cached_property
    def _hosts(self) -> frozenset[str]:
        return frozenset(destination for destination in self.allow or () if _network(destination) is None)

    def refusal(self, host: str, address: Address) -> str | None:
        """Return the reason why the relay must not connect to `host` at `address`; None if it may."""
        equivalents = meanings(address)
        name = normal_host(host)
        for equivalent in equivalents:
            if kind := kind_never_met(equivalent):
                return f"{_described(name, address, equivalent)} is {kind}, to which the relay never connects"
            if equivalent.is_loopback and not _names_loopback(name):
                return f"{_described(name, address, equivalent)} is loopback; write the address itself in the url"
        if self.allow is None or self._has_host(name) or self._has_address(equivalents):
            return None
        return f"{_described(name, address, address)} is not in {self._list}"

    def url_refusal(self, url: str) -> str | None:
        """Return the reason why `url` is refused whatever its host resolves to; None if that depends on the address.

        Raises:
            ValueError: it is not a URL.
        """
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where a part of a password was taken for the port
        written = parts.hostname or ""
        host = normal_host(written)
        address = address_of(host)
        if _ends_in_a_number(host) and (address is None or written.endswith(".")):
            return f"{written} is not the usual form of an address; write it as four numbers, such as 10.0.0.7"
        if address is not None:
            return self.refusal(host, address)
        if self.allow is None or self._networks or self._has_host(host):
            return None
        return f"{host} is not in {self._list}"

    def _has_host(self, host: str) -> bool:
        labels = host.split(".")
        wildcards = (_WILDCARD + ".".join(labels[start:]) for start in range(1, len(labels)))
        return not self._hosts.isdisjoint((host, *wildcards))

    def _has_address(self, equivalents: tuple[Address, ...]) -> bool:
        address, *embedded = equivalents
        return self._covers(address) or (bool(embedded) and all(map(self._covers, embedded)))

    def _covers(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


class TeamEgress(Egress):
    """The destinations of a team's subscriptions: its own list, within that of the relay."""

    relay: Egress
    """`[egress]`, which must allow the destination as well."""
    team: str

    @property
    def _list(self) -> str:
        return f'egress of the team "{self.team}"'

    def refusal(self, host: str, address: Address) -> str | None:
        """Return the reason why the relay must not connect to `host` at `address` for the team; None if it may."""
        return self.relay.refusal(host, address) or super().refusal(host, address)

    def url_refusal(self, url: str) -> str | None:
        """Return the reason why `url` is refused whatever its host resolves to; None if that depends on the address.

        Raises:
            ValueError: it is not a URL.
        """
        return self.relay.url_refusal(url) or super().url_refusal(url)


class RemoteEgress(Egress):
    """The destinations of the subscriptions that a team made itself: those `within`, but loopback only by a list.

    A team does not run on the relay's machine, where other programs trust whatever comes from loopback.
    """

    within: Egress

    def refusal(self, host: str, address: Address) -> str | None:
        """Return the reason why the relay must not connect to `host` at `address`; None if it may."""
        if reason := self.within.refusal(host, address):
            return reason
        if self.within.allow is None and any(meaning.is_loopback for meaning in meanings(address)):
            return (
                f"{_described(normal_host(host), address, address)} is loopback, the relay's own machine; "
                "an operator can list it in the egress of the team, or in allow of [egress]"
            )
        return None

    def url_refusal(self, url: str) -> str | None:
        """Return the reason why `url` is refused whatever its host resolves to; None if that depends on the address.

        Raises:
            ValueError: it is not a URL.
        """
        if reason := self.within.url_refusal(url):
            return reason
        host = normal_host(urlsplit(url).hostname or "")
        address = address_of("127.0.0.1" if host == "localhost" else host)
        return None if address is None else self.refusal(host, address)


def _names_loopback(host: str) -> bool:
    address = address_of(host)
    return host == "localhost" if address is None else any(meaning.is_loopback for meaning in meanings(address))


def _described(host: str, address: Address, equivalent: Address) -> str:
    """Describe a destination for an error: the host if it is a name, the address, and the address that it embeds."""
    text = str(address) if equivalent == address else f"{address} (that is {equivalent})"
    return text if address_of(host) == address else f"{host} at {text}"
