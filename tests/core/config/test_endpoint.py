"""Authentication of the relay to a subscriber, as configured in relay.toml."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given

from relay.core.config.egress import Egress
from relay.core.config.endpoint import Endpoint, Path, check_found, endpoint_of, references
from relay.core.config.relay_toml import endpoint_rows, parse_config, tables_in
from relay.core.errors import ConfigError
from relay.core.secret import SecretReference
from tests.building import OTHER_SECRET, SECRET
from tests.core.writing import subscription_with
from tests.properties import any_text, quick


def endpoint(found: dict[Path, str], **values: str) -> Endpoint:
    """Return the endpoint of a subscription with `values`, in TOML, whose references resolve to `found`."""
    [subscription] = parse_config(subscription_with(**values)).subscriptions
    return endpoint_of(subscription, {("secret",): SECRET.text, **found}, Egress())


def problems_of(**values: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(subscription_with(**values))
    return [problem.message for problem in caught.value.problems]


def test_default_is_a_secret_and_the_system_authorities() -> None:
    assert endpoint({}) == Endpoint((SECRET,), {}, verify_tls=True, ca=None)


def test_headers_keep_their_spelling() -> None:
    found: dict[Path, str] = {("headers", "X-Team"): "crm", ("headers", "x-key"): "abc def"}
    made = endpoint(found, headers='{ "X-Team" = "crm", "x-key" = "env:KEY" }')
    assert made.headers == {"X-Team": "crm", "x-key": "abc def"}


def test_bearer_token_is_sent_as_authorization() -> None:
    made = endpoint({("auth", "bearer"): "t0ken"}, auth='{ bearer = "env:TOKEN" }')
    assert made.headers == {"Authorization": "Bearer t0ken"}


def test_username_and_password_are_basic_authorization() -> None:
    found: dict[Path, str] = {("auth", "username"): "relay", ("auth", "password"): "a:b c"}
    made = endpoint(found, auth='{ username = "relay", password = "env:PASSWORD" }')
    scheme, _, pair = made.headers["Authorization"].partition(" ")
    assert (scheme, b64decode(pair)) == ("Basic", b"relay:a:b c")


def test_secrets_keep_their_order() -> None:
    found: dict[Path, str] = {("secret", 0): OTHER_SECRET.text, ("secret", 1): SECRET.text}
    [subscription] = parse_config(subscription_with(secret='["env:NEW", "env:OLD"]')).subscriptions
    assert endpoint_of(subscription, found, Egress()).secrets == (OTHER_SECRET, SECRET)


def test_secrets_are_not_shown() -> None:
    text = subscription_with(
        auth='{ bearer = "hunter2" }', headers='{ "X-Key" = "hunter2" }', secret='"whsec_aHVudGVyMg"'
    )
    config = parse_config(text)
    found: dict[Path, str] = {
        ("auth", "bearer"): "hunter2",
        ("headers", "X-Key"): "hunter2",
        ("secret",): "whsec_aHVudGVyMg",
    }
    shown = repr(config) + repr(endpoint_of(config.subscriptions[0], found, Egress()))
    assert "hunter2" not in shown
    assert "aHVudGVyMg" not in shown


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "content-length",
        "Content-Type",
        "TRANSFER-ENCODING",
        "Connection",
        "webhook-id",
        "Webhook-Anything",
        "X-Webhook-Signature",
        "Relay-Topic",
        "Traceparent",
    ],
)
def test_reserved_header_is_refused(name: str) -> None:
    assert problems_of(headers=f'{{ "X-Good" = "1", "{name}" = "x" }}') == [
        f'header "{name}" is set by the relay or by HTTP and cannot be overridden'
    ]


@pytest.mark.parametrize("name", ["", "a b", "X:Y", "X\\n", "é", "X\\u0000"])
def test_invalid_header_name_is_refused(name: str) -> None:
    [problem] = problems_of(headers=f'{{ "{name}" = "x" }}')
    assert problem.endswith("is not a valid header name")


def test_duplicate_header_in_another_case_is_refused() -> None:
    assert problems_of(headers='{ "X-Team" = "a", "x-team" = "b" }') == ['header "x-team" is given twice']


def test_every_invalid_header_name_is_reported() -> None:
    [problem] = problems_of(headers='{ "Host" = "a", "a b" = "b" }')
    assert (
        problem
        == "header \"Host\" is set by the relay or by HTTP and cannot be overridden; 'a b' is not a valid header name"
    )


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        ("{}", "write { bearer"),
        ('{ username = "a" }', "write { bearer"),
        ('{ password = "a" }', "write { bearer"),
        ('{ bearer = "a", username = "b", password = "c" }', "write { bearer"),
        ('{ bearer = "a", password = "c" }', "write { bearer"),
        ('{ token = "a" }', 'unknown key "token"'),
        ('{ bearer = "env:" }', '"env:" is incomplete'),
        ('"Bearer x"', "it must be a table"),
    ],
)
def test_auth_is_a_bearer_token_or_basic(auth: str, problem: str) -> None:
    assert problem in problems_of(auth=auth)[0]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"ca_file": '"a.pem"', "verify_tls": "false"}, '"ca_file" contradicts "verify_tls = false"'),
        ({"ca_file": '"a.pem"', "url": '"http://a.b"'}, "need an https url"),
        ({"verify_tls": "false", "url": '"http://a.b"'}, "need an https url"),
        ({"auth": '{ bearer = "a" }', "headers": '{ authorization = "b" }'}, 'by "auth" and "headers"'),
        ({"auth": '{ bearer = "a" }', "url": '"https://user:pw@a.b/"'}, 'by the url and "auth"'),
    ],
)
def test_contradictory_keys_are_reported(values: dict[str, str], problem: str) -> None:
    [message] = problems_of(**values)
    assert problem in message


def test_authorization_can_be_a_custom_header() -> None:
    made = endpoint({("headers", "Authorization"): "Token x"}, headers='{ Authorization = "env:X" }')
    assert made.headers == {"Authorization": "Token x"}


def test_references_are_found_in_an_invalid_table() -> None:
    text = subscription_with(
        secret='["env:NEW", 5, "nonsense"]',
        headers='{ "X" = "file:x.key", "Y" = 1, "Z" = "env:" }',
        auth='{ bearer = "t", colour = "env:C" }',
        ca_file='"ca.pem"',
        retry="5",
    )
    [row] = endpoint_rows(tables_in(text) or {}).values()
    assert dict(references(row)) == {
        ("secret", 0): SecretReference("env", "NEW"),
        ("headers", "X"): SecretReference("file", "x.key"),
        ("auth", "bearer"): SecretReference("literal", "t"),
        ("auth", "colour"): SecretReference("env", "C"),
        ("ca_file",): SecretReference("file", "ca.pem"),
    }


@pytest.mark.parametrize("row", [{"secret": 5, "headers": [], "auth": "x", "ca_file": {}}, {}])
def test_table_without_references_has_none(row: dict[str, Any]) -> None:
    assert not list(references(row))


@quick
@given(any_text)
def test_accepted_value_cannot_break_a_request(text: str) -> None:
    try:
        check_found(("headers", "X"), text)
    except ValueError as error:
        assert len(text) < 4 or text not in str(error)  # noqa: PT017
    else:
        assert text.isascii()
        assert text.isprintable()
        assert text == text.strip()


def test_username_with_a_colon_is_refused() -> None:
    with pytest.raises(ValueError, match="must not contain a colon"):
        check_found(("auth", "username"), "a:b")
    check_found(("auth", "password"), "a:b")
