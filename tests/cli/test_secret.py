"""`relay secret generate`."""

from __future__ import annotations

import base64

import pytest

from relay.config.settings import Settings
from relay.core.secret import SigningSecret
from relay.store.keyring.encryption import Cipher
from tests.cli.running import invoke


def test_signing_secret_is_whsec_and_32_bytes() -> None:
    for arguments in ([], ["--for", "subscription"]):
        secret = invoke("secret", "generate", *arguments).out.strip()
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_relay_key_is_urlsafe_base64_of_32_bytes() -> None:
    key = invoke("secret", "generate", "--for", "relay").out.strip()
    assert len(base64.urlsafe_b64decode(key)) == 32


@pytest.mark.parametrize("purpose", ["relay", "subscription"])
def test_either_secret_can_be_the_relay_key(purpose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SECRET_KEY", invoke("secret", "generate", "--for", purpose).out.strip())
    key = Settings.load("relay_secret_key").relay_secret_key
    assert key is not None
    seal = Cipher(key.get_secret_value())
    assert seal.decrypt(seal.encrypt(SigningSecret("whsec_x"))).text == "whsec_x"


def test_secrets_are_different() -> None:
    assert len({invoke("secret", "generate").out for _ in range(5)}) == 5


def test_nothing_else_is_printed() -> None:
    said = invoke("secret", "generate")
    assert (said.code, said.out.count("\n"), said.err) == (0, 1, "")


def test_unknown_purpose_error_names_the_known_ones() -> None:
    said = invoke("secret", "generate", "--for", "fun")
    assert said.code == 2
    assert "subscription" in said.err
    assert "relay" in said.err
