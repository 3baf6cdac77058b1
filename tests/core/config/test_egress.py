"""Egress rules: the destinations that the relay may connect to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.config.egress import Egress
from relay.core.config.relay_toml import parse_config
from relay.core.errors import ConfigError
from relay.core.net.addresses import address_of
from tests.core.writing import subscription_with
from tests.properties import any_text, quick

SOME = Egress(allow=("*.internal", "Hooks.Example.COM.", "10.0.0.0/8", "2001:db8::/32", "192.0.2.7"))


def refusal(egress: Egress, host: str, address: str | None = None) -> str | None:
    parsed = address_of(address or host)
    assert parsed is not None
    return egress.refusal(host, parsed)


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return [str(problem).removeprefix("relay.toml:") for problem in caught.value.problems]


# --- a destination --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("a.internal", "8.8.8.8"),
        ("a.b.internal", "8.8.8.8"),
        ("A.Internal.", "8.8.8.8"),
        ("hooks.example.com", "8.8.8.8"),
        ("elsewhere.example", "10.1.2.3"),
        ("elsewhere.example", "::ffff:10.1.2.3"),
        ("elsewhere.example", "64:ff9b::a01:203"),
        ("elsewhere.example", "2001:db8::1"),
        ("10.1.2.3", "10.1.2.3"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_listed_destination_is_allowed(host: str, address: str) -> None:
    assert refusal(SOME, host, address) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("internal", "8.8.8.8"),
        ("evilinternal", "8.8.8.8"),
        ("a.internal.example", "8.8.8.8"),
        ("x.hooks.example.com", "8.8.8.8"),
        ("hooks.example.com.evil.example", "8.8.8.8"),
        ("elsewhere.example", "11.0.0.1"),
        ("192.0.2.8", "192.0.2.8"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_unlisted_destination_is_refused(host: str, address: str) -> None:
    why = refusal(SOME, host, address)
    assert why is not None
    assert why.endswith("is not in allow of [egress]")


@pytest.mark.parametrize("egress", [Egress(), Egress(allow=("169.254.0.0/16", "*.internal", "0.0.0.0/0", "::/0"))])
def test_metadata_services_are_refused_even_if_listed(egress: Egress) -> None:
    assert refusal(egress, "169.254.169.254") == (
        "169.254.169.254 is a cloud metadata service, to which the relay never connects"
    )
    assert refusal(egress, "metadata.internal", "::ffff:169.254.169.254") == (
        "metadata.internal at ::ffff:a9fe:a9fe (that is 169.254.169.254) is a cloud metadata service, "
        "to which the relay never connects"
    )


@pytest.mark.parametrize("egress", [Egress(), Egress(allow=("127.0.0.0/8", "::1", "*.example", "localhost"))])
def test_loopback_must_be_in_the_url(egress: Egress) -> None:
    for host, address in (("localhost", "127.0.0.1"), ("LOCALHOST.", "::1"), ("127.0.0.1", None), ("::1", None)):
        assert refusal(egress, host, address) is None
    for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"):
        assert refusal(egress, "evil.example", address) is not None
    assert refusal(egress, "evil.example", "127.0.0.1") == (
        "evil.example at 127.0.0.1 is loopback; write the address itself in the url"
    )


def test_without_a_list_other_destinations_are_allowed() -> None:
    for address in ("8.8.8.8", "10.0.0.1", "192.168.0.1", "fd00::1", "2606:4700::1111"):
        assert refusal(Egress(), "a.example", address) is None


@quick
@given(any_text, st.ip_addresses())
def test_any_host_is_allowed_or_refused_with_a_reason(host: str, address: object) -> None:
    message = refusal(SOME, host, str(address))
    assert message is None or message.isprintable() or not host.isprintable()


# --- a URL, when relay.toml is loaded -------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://169.254.169.254/latest", "169.254.169.254 is a cloud metadata service"),
        ("http://[::ffff:169.254.1.1]/", "is link-local"),
        ("http://0.0.0.0/", "is unspecified"),
        ("http://2130706433/", "2130706433 is not the usual form of an address"),
        ("http://0x7f.1/", "0x7f.1 is not the usual form"),
        ("http://127.1/", "127.1 is not the usual form"),
        ("http://0177.0.0.1/", "0177.0.0.1 is not the usual form"),
        ("http://127.0.0.1./", "127.0.0.1. is not the usual form"),
    ],
)
def test_unreachable_url_is_reported_with_its_line(url: str, problem: str) -> None:
    [message] = problems_of(subscription_with(url=f'"{url}"'))
    assert message.startswith("7 subscriptions[0].url: ")
    assert problem in message


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ('["10.0.0.0/8"]', "http://11.0.0.1/"),
        ('["*.internal"]', "http://11.0.0.1/"),
        ('["*.internal"]', "http://crm.example.com/"),
        ('["*.internal"]', "http://localhost/"),
    ],
)
def test_url_outside_the_list_is_reported(allow: str, url: str) -> None:
    [message] = problems_of(f"{subscription_with(url=repr(url))}\n[egress]\nallow = {allow}")
    assert message.startswith("7 subscriptions[0].url: ")
    assert message.endswith("is not in allow of [egress]")


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ('["*.internal", "10.0.0.0/8"]', "http://crm.example.com/"),  # may resolve to 10.0.0.1
        ('["*.internal"]', "http://crm.internal/"),
        ('["xn--bcher-kva.example"]', "http://bücher.example/"),
        ('["bücher.example"]', "http://xn--bcher-kva.example/"),
        ('["127.0.0.1"]', "http://127.0.0.1:8080/"),
    ],
)
def test_url_that_may_resolve_to_a_listed_address_is_valid(allow: str, url: str) -> None:
    assert parse_config(f"{subscription_with(url=repr(url))}\n[egress]\nallow = {allow}").egress.allow


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost/", "http://①②⑦.0.0.1/"])
def test_named_loopback_is_valid(url: str) -> None:
    assert parse_config(subscription_with(url=f'"{url}"')).subscriptions[0].url == url


# --- the list -------------------------------------------------------------------------------------

NOT_A_DESTINATION = (
    'is not a destination; write a host ("hooks.example.com"), all names below a domain ("*.internal"), '
    'an address or a network ("10.0.0.0/8")'
)

NO_DESTINATIONS = ["", "*", "a.*", "*a.b", "-a.b", "a b", "a.b:80", "http://a.b", "127.1", "0x7f.1", "[::1]"]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("10.0.0.1/8", '"10.0.0.1/8" has bits beyond its mask; did you mean "10.0.0.0/8"?'),
        *((entry, f'"{entry}" {NOT_A_DESTINATION}') for entry in NO_DESTINATIONS),
    ],
)
def test_invalid_destination_is_reported(entry: str, problem: str) -> None:
    assert problems_of(f'[egress]\nallow = ["a.b", "{entry}"]') == [f"2 egress.allow[1]: {problem}"]


def test_empty_list_is_reported() -> None:
    assert problems_of("[egress]\nallow = []") == [
        "2 egress.allow: the list is empty; write at least one item, or remove the key"
    ]


def test_equivalent_lists_are_equal() -> None:
    assert Egress(allow=("A.B.", "10.0.0.1", "2001:DB8::/32")) == Egress(allow=("a.b", "10.0.0.1/32", "2001:db8::/32"))


def test_list_and_url_mistakes_are_both_reported() -> None:
    first, second = problems_of(subscription_with(url='"http://169.254.1.1/"') + '\n[egress]\nallow = ["*"]')
    assert "link-local" in first
    assert "not a destination" in second
