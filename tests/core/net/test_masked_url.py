from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.net.masked_url import masked_url, unreadable_url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://hooks.example.com:8443/linq/v1", "https://hooks.example.com:8443/linq/v1"),
        ("https://hooks.example.com/@team/x", "https://hooks.example.com/@team/x"),
        ("https://bot:hunter2@a.b/in", "https://***@a.b/in"),
        ("https://hunter2@a.b/in", "https://***@a.b/in"),
        ("https://a.b/in?team=crm&token=hunter2&sig=hun=ter2", "https://a.b/in?team=***&token=***&sig=***"),
        ("https://a.b/in?hunter2", "https://a.b/in?***"),
        ("https://a.b/in#hunter2", "https://a.b/in#***"),
        ("https://bot:hun/ter2@a.b/in", "https://***@a.b/in"),
        ("https://bot:hun#ter2@a.b/in", "https://***@a.b/in"),
        ("https://bot:hun?ter2@a.b/in?x=1", "https://***@a.b/in?x=***"),
        ("https://bot:hunter2@ter2@a b/in", "https://***@a b/in"),
        ("bot:hunter2@a.b", "***@a.b"),
        ("https://[hunter2@a.b", "https://***@a.b"),
        ("https://bot:x://hunter2@a.b", "***@a.b"),
        ("", ""),
    ],
)
def test_masked_url(url: str, masked: str) -> None:
    assert masked_url(url) == masked


@given(st.text(alphabet="/?#@:%[] \\&=ab", max_size=8), st.sampled_from(["https://", "http://", "//", ""]))
def test_no_password_is_ever_shown(noise: str, scheme: str) -> None:
    assert "hunter2" not in masked_url(f"{scheme}bot:{noise}hunter2@a.b/in?token=hunter2#hunter2")


def test_unreadable_url_has_the_remedy_where_a_password_may_be_the_reason() -> None:
    assert unreadable_url("ftp://a.b", "an http URL") == '"ftp://a.b" is not an http URL'
    with_password = unreadable_url("http://bot:pa/ss@a.b", "an http URL")
    assert with_password.startswith('"http://***@a.b" is not an http URL; percent-encode special characters')
