"""Variables from files (`NAME_FILE`), and the credentials of Redis in variables of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.config.load import load_settings
from relay.config.settings import Settings
from tests.cli.running import main_here
from tests.config.variables import GOOD, KEY, problems_with, set_all

if TYPE_CHECKING:
    from pathlib import Path

MASKED = [name for name in GOOD if "SECRET" in name or name.endswith(("TOKEN", "PASSWORD", "API_KEY", "DSN"))]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_every_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str) -> None:
    secrets = Settings.secrets()
    assert {"redis_url", *map(str.lower, MASKED)} == set(secrets)
    set_all(monkeypatch, GOOD)
    expected = Settings.load()
    for name in map(str.upper, secrets):
        file = tmp_path / name
        file.write_bytes((GOOD[name] + ending).encode())
        monkeypatch.delenv(name)
        monkeypatch.setenv(f"{name}_FILE", str(file))
    assert Settings.load(*secrets) == expected
    assert load_settings().redis_url == expected.redis_url


def test_only_the_final_newline_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" pass\nword \n\n")
    set_all(monkeypatch, {"REDIS_URL": "redis://a", "REDIS_PASSWORD_FILE": str(tmp_path / "password")})
    assert Settings.load().redis_url == "redis://:%20pass%0Aword%20%0A@a"


def test_variable_and_its_file_exclude_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    set_all(monkeypatch, {"RELAY_SECRET_KEY": KEY, "RELAY_SECRET_KEY_FILE": str(tmp_path / "key")})
    text = "RELAY_SECRET_KEY and RELAY_SECRET_KEY_FILE are both set; unset one of them"
    assert problems_with("relay_secret_key") == {"RELAY_SECRET_KEY": text}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"hunter2", "not the urlsafe base64 of 32 bytes"),
    ],
)
async def test_unusable_file_is_exit_code_2_with_the_cause(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    said = await main_here("ingress", REDIS_URL="redis://127.0.0.1:1/0", RELAY_SECRET_KEY_FILE=str(file))
    assert said.code == 2
    assert said.is_one_message_without_traceback()
    assert problem in said.err
    assert "RELAY_SECRET_KEY_FILE" in said.err
    assert "hunter2" not in said.err
    assert "not set" not in said.err


def test_directory_in_place_of_a_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path))
    assert problems_with() == {"REDIS_URL_FILE": f"{tmp_path} cannot be read: Is a directory"}


def test_file_that_every_user_can_replace_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("token")
    monkeypatch.setenv("LINQ_V2_TOKEN_FILE", str(file))
    for mode, warned in ((0o600, False), (0o444, False), (0o666, True)):  # container platforms mount with 0444
        file.chmod(mode)
        Settings.load()
        assert (f"run: chmod o-w {file}" in capsys.readouterr().err) == warned


# --- credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "username", "password", "expected"),
    [
        ("redis://a:1/2", "", "p@s/s", "redis://:p%40s%2Fs@a:1/2"),
        ("rediss://a?db=1", "relay", "p", "rediss://relay:p@a?db=1"),
        ("unix:///run/redis.sock", "relay", "p", "unix://relay:p@/run/redis.sock"),
        (
            "redis+sentinel://a,b/m?sentinel_password=x@y",
            "relay",
            "p",
            "redis+sentinel://relay:p@a,b/m?sentinel_password=x@y",
        ),
        ("redis://a", "relay", "", "redis://relay@a"),
    ],
)
def test_credentials_complete_the_url(
    monkeypatch: pytest.MonkeyPatch, url: str, username: str, password: str, expected: str
) -> None:
    set_all(monkeypatch, {"REDIS_URL": url, "REDIS_USERNAME": username, "REDIS_PASSWORD": password})
    settings = Settings.load()
    assert settings.redis_url == expected
    assert "p%40s" not in str(settings.shown()) + repr(settings)


@pytest.mark.parametrize("url", ["redis://relay:old@a", "redis://:old@a", "redis://relay@a"])
def test_credentials_in_two_places_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    set_all(monkeypatch, {"REDIS_URL": url, "REDIS_PASSWORD": "new"})
    text = "it has a user name or a password, and REDIS_PASSWORD is set as well; remove one of them"
    assert problems_with() == {"REDIS_URL": text}


def test_credentials_without_a_url_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_USERNAME", "relay")
    assert problems_with() == {"REDIS_USERNAME": "set, but REDIS_URL is not; set it, or unset this one"}


def test_unreadable_file_of_the_url_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for scheme in ("rediss://a/0", "rediss+sentinel://a/m"):
        monkeypatch.setenv("REDIS_URL", f"{scheme}?ssl_ca_certs={tmp_path}/none.pem")
        text = "the file of its option ssl_ca_certs cannot be read: No such file or directory"
        assert problems_with() == {"REDIS_URL": text}


@pytest.mark.parametrize("prefix", ["", "a:b", "arq", "a b", "a*", "-a", "a" * 65, "[ab]"])
def test_prefix_that_a_pattern_could_misread_is_refused(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("RELAY_KEY_PREFIX", prefix)
    if prefix:
        assert "it must have 1 to 64 letters" in problems_with()["RELAY_KEY_PREFIX"]
    else:
        assert Settings.load().relay_key_prefix == "relay"
