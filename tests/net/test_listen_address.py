from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.listen_address import Listen, parse_listen
from tests.properties import quick


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("localhost:0", "localhost", 0, "localhost:0"),
        ("[::]:8080", "::", 8080, "[::]:8080"),
        ("::1:8080", "::1", 8080, "[::1]:8080"),
        (":8080", "0.0.0.0", 8080, "0.0.0.0:8080"),  # noqa: S104  what no host stands for
        ("8080", "0.0.0.0", 8080, "0.0.0.0:8080"),  # noqa: S104  as above
        ("a.b:65535", "a.b", 65535, "a.b:65535"),
    ],
)
def test_address_is_a_host_and_a_port(text: str, host: str, port: int, shown: str) -> None:
    assert parse_listen(text) == Listen(host=host, port=port)
    assert str(parse_listen(text)) == shown


@pytest.mark.parametrize(
    "text", ["", ":", "localhost", "localhost:", "localhost:http", "a:-1", "a:65536", "a:1.5", "a: 1"]
)
def test_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_listen(text)


@quick
@given(st.text(alphabet="[]:.0123456789a²") | st.text())
def test_text_parses_or_raises_value_error(text: str) -> None:
    try:
        listen = parse_listen(text)
    except ValueError:
        return
    assert 0 <= listen.port <= 65535
    assert listen.host
