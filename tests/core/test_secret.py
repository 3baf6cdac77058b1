from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.line_secret import LineSecret
from relay.core.secret import HmacKey, SecretReference, SigningSecret, new_key, new_secret, normal_key
from tests.building import LINE, SECRET
from tests.properties import any_text, quick

KEY = base64.urlsafe_b64encode(bytes(range(224, 256))).decode()
"""A RELAY_SECRET_KEY that contains both urlsafe characters."""


# --- signing secrets ------------------------------------------------------------------------------


def test_secret_has_a_whole_and_a_decoded_key() -> None:
    assert SECRET.whole == b"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert SECRET.decoded == bytes(range(32))


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("AAECAw==", b"\x00\x01\x02\x03"),
        ("whsec_AAECAw", b"\x00\x01\x02\x03"),
        ("whsec_abc123def456", base64.b64decode("abc123def456")),
        ("whsec_+/+/", b"\xfb\xff\xbf"),
    ],
    ids=["without its prefix", "without padding", "of the docs", "with both odd characters"],
)
def test_secrets_are_decoded_with_or_without_prefix_and_padding(text: str, decoded: bytes) -> None:
    assert SigningSecret(text).decoded == decoded


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_A", "whsec_!!!!", "whsec_ab cd", "whsec_ab-_", "whsec_é", "=="])
def test_invalid_base64_secret_has_only_its_whole_key(text: str) -> None:
    secret = SigningSecret(text)
    assert secret.decoded is None
    assert secret.whole == text.encode()


@quick
@given(st.binary(min_size=1))
def test_any_bytes_can_be_a_secret(key: bytes) -> None:
    assert SigningSecret("whsec_" + base64.b64encode(key).decode()).decoded == key


@quick
@given(any_text)
def test_decoding_accepts_any_text(text: str) -> None:
    assert SigningSecret(text).decoded != b""


@quick
@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_key_signs_as_hmac_of_the_library_does(key: bytes, start: bytes, body: bytes) -> None:
    assert HmacKey(key).digest(start, body) == hmac.digest(key, start + body, "sha256")


def test_secret_is_not_in_its_repr() -> None:
    for holder in (SECRET, LineSecret(LINE, 1, SECRET), [SECRET], {"secret": SECRET}):
        assert "AAECAw" not in repr(holder)
        assert "AAECAw" not in f"{holder}"


def test_new_secret_is_whsec_and_32_random_bytes() -> None:
    text = new_secret()
    assert text.startswith("whsec_")
    assert len(SigningSecret(text).decoded or b"") == 32
    assert len({new_secret() for _ in range(20)}) == 20


# --- RELAY_SECRET_KEY -----------------------------------------------------------------------------


def test_new_key_is_32_random_bytes() -> None:
    key = new_key()
    assert normal_key(key) == key != new_key()
    assert len(base64.urlsafe_b64decode(key)) == 32


@pytest.mark.parametrize(
    "text",
    [KEY, KEY.rstrip("="), f"  {KEY}\n", f"whsec_{KEY}", KEY.replace("-", "+").replace("_", "/")],
    ids=["urlsafe", "without padding", "with blanks", "with a prefix", "of the standard alphabet"],
)
def test_key_has_several_spellings(text: str) -> None:
    assert normal_key(text) == KEY


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "hunter2", "a" * 32, KEY[:-4], KEY + "AAAA", KEY.replace("4", "!"), "0" * 64, "é" * 43, "=" * 44),
        base64.urlsafe_b64encode(b"x" * 31).decode(),
        base64.urlsafe_b64encode(b"x" * 33).decode(),
    ],
)
def test_key_of_another_size_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        normal_key(text)
    assert not text.strip() or text not in str(caught.value)


@quick
@given(st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_a_key(key: bytes) -> None:
    encoded = base64.urlsafe_b64encode(key).decode()
    assert normal_key(encoded) == normal_key(base64.b64encode(key).decode()) == encoded


# --- references in relay.toml ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "source", "value"),
    [
        ("env:BOT_SECRET", "env", "BOT_SECRET"),
        ("file:secrets/bot.key", "file", "secrets/bot.key"),
        ("file:/run/secrets/bot", "file", "/run/secrets/bot"),
        ("file:C:/bot.key", "file", "C:/bot.key"),
        ("whsec_AAECAw==", "literal", "whsec_AAECAw=="),
    ],
)
def test_reference_has_a_source_and_a_value(text: str, source: str, value: str) -> None:
    assert SecretReference.parse(text) == SecretReference(source, value)


@pytest.mark.parametrize(
    "text",
    ["", "env", "env:", "file:", "AAECAw==", "whsec_", "vault:bot", "ENV:BOT", "literal:whsec_AAECAw", " env:BOT"],
)
def test_invalid_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="write the secret as") as caught:
        SecretReference.parse(text)
    assert text not in {"AAECAw==", "vault:bot"} or text not in str(caught.value)


def test_reference_repr_hides_a_literal() -> None:
    assert repr(SecretReference.parse("env:BOT_SECRET")) == "SecretReference(env:BOT_SECRET)"
    assert repr(SecretReference.parse("whsec_AAECAw==")) == "SecretReference(literal)"
