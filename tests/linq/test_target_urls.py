from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.linq.target_urls import Target, fault_of_url, is_our_v2_url, our_target, target_of_query, target_url, v2_url
from tests.building import LINE
from tests.properties import lines, quick

PUBLIC = "https://relay.example.com"
URL = f"{PUBLIC}/webhooks/linq?version=2026-02-03&line=16465550123&gen=1"
OURS = Target(LINE, named=True, generation=1, version="2026-02-03")


# --- the URLs that we register --------------------------------------------------------------------


@pytest.mark.parametrize("public", [PUBLIC, PUBLIC + "/"])
def test_target_url_has_version_line_and_generation(public: str) -> None:
    assert target_url(public, LINE, 1) == URL


def test_account_target_url_has_no_line() -> None:
    url = target_url(PUBLIC, None, 2)
    assert url == f"{PUBLIC}/webhooks/linq?version=2026-02-03&gen=2"
    assert our_target(PUBLIC, url) == Target(None, named=False, generation=2, version="2026-02-03")


def test_public_url_may_have_a_path() -> None:
    url = target_url(f"{PUBLIC}/relay/", LINE, 1)
    assert url.startswith(f"{PUBLIC}/relay/webhooks/linq?")
    assert our_target(f"{PUBLIC}/relay", url) == OURS


@quick
@given(
    lines,
    st.integers(1, 10**9 - 1),
    st.sampled_from([PUBLIC, f"{PUBLIC}/", f"{PUBLIC}:8443/a/b", "http://localhost:80"]),
)
def test_target_url_survives_a_round_trip(line: str | None, generation: int, public: str) -> None:
    url = target_url(public, line, generation)
    assert our_target(public, url) == Target(line, named=line is not None, generation=generation, version="2026-02-03")
    assert target_of_query(urlsplit(url).query) == our_target(public, url)


@quick
@given(st.lists(st.tuples(lines | st.none(), st.integers(0, 99)), min_size=2, max_size=8, unique=True))
def test_every_generation_and_line_has_a_unique_url(pairs: list[tuple[str | None, int]]) -> None:
    assert len({target_url(PUBLIC, line, generation) for line, generation in pairs}) == len(pairs)


# --- the query of a request -----------------------------------------------------------------------


@pytest.mark.parametrize("plus", ["", "%2B", "+", "%2b", "%20", "%20%2B"])
def test_plus_sign_of_a_line_may_be_encoded(plus: str) -> None:
    assert target_of_query(f"line={plus}16465550123").line == LINE


@pytest.mark.parametrize(
    "query",
    [
        "utm=1&version=2026-02-03&line=16465550123&gen=1",
        "version=2026-02-03&line=16465550123&gen=1&x=&y&=z&%ff=%fe",
        "gen=1&line=16465550123&version=2026-02-03&LINE=1&lines=2",
    ],
)
def test_other_parameters_and_any_order_are_tolerated(query: str) -> None:
    assert target_of_query(query) == OURS


def test_first_of_a_repeated_parameter_is_used() -> None:
    query = "line=16465550123&line=16465550199&gen=1&gen=2&version=2026-02-03&version=2025-01-01"
    assert target_of_query(query) == OURS


@pytest.mark.parametrize("query", ["", "version=2026-02-03", "lines=16465550123", "&&", "=16465550123"])
def test_query_without_a_line_has_none(query: str) -> None:
    target = target_of_query(query)
    assert (target.line, target.named) == (None, False)


@pytest.mark.parametrize(
    "line",
    ["", "0", "abc", "06465550123", "1646555012345678", "1646-555-0123", "16465550123x", "%2B%2B1646", "%D9%A1%D9%A2"],
)
def test_invalid_line_is_reported_and_not_a_line(line: str) -> None:
    assert target_of_query(f"line={line}&line=16465550123") == Target(None, named=True)


@pytest.mark.parametrize(("gen", "generation"), [("0", 0), ("1", 1), ("007", 7), ("999999999", 999_999_999)])
def test_generation_is_a_whole_number(gen: str, generation: int) -> None:
    assert target_of_query(f"gen={gen}").generation == generation


@pytest.mark.parametrize("gen", ["", "-1", "1.5", "one", "1e3", "0x1", "%D9%A1", "%C2%B2", "1" * 10, "9" * 5000])
def test_invalid_generation_is_none(gen: str) -> None:
    assert target_of_query(f"gen={gen}&line=16465550123") == Target(LINE, named=True)


@quick
@given(st.text() | st.text(alphabet="line=gen&%+0123456789;"))
def test_any_query_is_accepted(query: str) -> None:
    target = target_of_query(query)
    assert target.named == ("line" in parse_qs(query, keep_blank_values=True))


# --- recognising our URL --------------------------------------------------------------------------


@pytest.mark.parametrize("url", [URL, URL.replace("relay.example", "Relay.EXAMPLE"), URL.replace("https", "HTTPS")])
def test_host_of_our_url_ignores_case(url: str) -> None:
    assert our_target(PUBLIC, url) == OURS
    assert our_target(PUBLIC.upper().replace("HTTPS", "https"), url) == OURS


def test_our_url_without_a_line_is_ours() -> None:
    assert our_target(PUBLIC, f"{PUBLIC}/webhooks/linq") == Target(None, named=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.com/webhooks/linq?line=16465550123&gen=1",
        "http://relay.example.com/webhooks/linq?line=16465550123&gen=1",
        "https://relay.example.com:8443/webhooks/linq?line=16465550123&gen=1",
        "https://relay.example.com/webhooks/linq/v2",
        "https://relay.example.com/webhooks/linq/",
        "https://relay.example.com/webhooks/LINQ",
        "https://relay.example.com/prefix/webhooks/linq",
        "https://relay.example.com.evil.test/webhooks/linq",
        "https://user@relay.example.com/webhooks/linq",
        "https://relay.example.com",
        "",
        "not a url",
    ],
)
def test_foreign_url_is_not_ours(url: str) -> None:
    assert our_target(PUBLIC, url) is None


def test_invalid_url_is_not_ours() -> None:
    assert our_target(PUBLIC, "https://[broken/webhooks/linq") is None


# --- the URL of the v2 subscription ---------------------------------------------------------------


@pytest.mark.parametrize("public", [PUBLIC, PUBLIC + "/"])
def test_v2_has_a_single_url(public: str) -> None:
    assert v2_url(public) == f"{PUBLIC}/webhooks/linq/v2"


@pytest.mark.parametrize("url", [v2_url(PUBLIC), v2_url(PUBLIC) + "?x=1", v2_url(PUBLIC.replace("relay", "RELAY"))])
def test_v2_url_is_ours_with_any_query(url: str) -> None:
    assert is_our_v2_url(PUBLIC, url)


@pytest.mark.parametrize("url", [URL, f"{PUBLIC}/webhooks/linq", f"{PUBLIC}/webhooks/linq/v2/", "https://[broken", ""])
def test_other_v2_urls_are_not_ours(url: str) -> None:
    assert not is_our_v2_url(PUBLIC, url)


@pytest.mark.parametrize("url", ["https://RELAY.example.com:443/webhooks/linq?line=16465550123&gen=1"])
def test_default_port_is_the_same_place(url: str) -> None:
    assert our_target(PUBLIC, url) is not None


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/webhooks/linq?line=16465550123&gen=1", ""),
        ("/webhooks/linq?gen=1", ""),
        ("/webhooks/linq?line=", 'its line ""'),
        ("/webhooks/linq?line=+0123", 'its line " 0123"'),
        ("/webhooks/linq/?line=16465550123", "its path ends in a slash"),
        ("/webhooks/linq/v2", ""),
        ("/webhooks/linq/v2/", "its path ends in a slash"),
        ("/webhooks/other/", ""),
    ],
)
def test_fault_of_a_url_under_our_paths_is_described(path: str, fault: str) -> None:
    said = fault_of_url(PUBLIC, PUBLIC + path)
    assert said.startswith(fault) if fault else said == ""
    assert fault_of_url(PUBLIC, "https://elsewhere.example.com" + path) == ""
