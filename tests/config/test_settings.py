from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from relay.config.settings import Settings, masked_redis_url
from relay.config.variable_forms import DEFAULT_LINQ_V2, DEFAULT_LINQ_V3
from relay.core.errors import SettingsError
from relay.net.listen_address import Listen
from tests.config.variables import GOOD, KEY, problems_with, set_all

# --- reading --------------------------------------------------------------------------------------


def test_an_empty_environment_has_defaults() -> None:
    settings = Settings.load()
    assert settings.redis_url is None
    assert (str(settings.relay_listen), settings.relay_admin_listen) == ("0.0.0.0:8080", None)
    assert (settings.relay_config, settings.relay_data_dir) == (Path("relay.toml"), Path(".relay"))
    assert settings.relay_dedupe_window == 6 * 3600
    assert (settings.linq_api_v3_base_url, settings.linq_v2_base_url) == (DEFAULT_LINQ_V3, DEFAULT_LINQ_V2)


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(GOOD) == {field.upper() for field in Settings.model_fields}
    set_all(monkeypatch, GOOD)
    settings = Settings.load(*Settings.model_fields)
    assert settings.redis_url == "redis://relay:redis%2Fhunter2@redis.internal:6379/1"
    assert settings.relay_key_prefix == "acme"
    assert settings.relay_public_url == "https://relay.example.com/in"
    assert settings.relay_listen == Listen(host="127.0.0.1", port=9000)
    assert settings.relay_admin_listen == Listen(host="::1", port=9001)
    assert settings.relay_config == Path("/etc/relay/rules.toml")
    assert settings.relay_dedupe_window == 5400
    assert settings.relay_gap_window == 36 * 3600
    assert settings.relay_worker_nice == 3
    assert settings.relay_idle_timeout == 75
    assert settings.relay_shutdown_delay == 5
    assert settings.relay_secret_key is not None
    assert settings.relay_secret_key.get_secret_value() == KEY
    assert settings.linq_v2_webhook_secret is not None
    assert settings.linq_v2_webhook_secret.get_secret_value() == "v2-secret-hunter2"


def test_shutdown_delay_is_a_duration_or_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("0", 0), ("12", 12), ("250ms", 0.25), ("1.5s", 1.5)):
        monkeypatch.setenv("RELAY_SHUTDOWN_DELAY", text)
        assert Settings.load().relay_shutdown_delay == seconds
    monkeypatch.setenv("RELAY_SHUTDOWN_DELAY", "-1s")
    with pytest.raises(SettingsError, match="RELAY_SHUTDOWN_DELAY"):
        Settings.load()


def test_lower_case_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("redis_url", "redis://elsewhere")
    assert Settings.load("redis_url").redis_url == "redis://elsewhere"


def test_environment_overrides_the_dotenv_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("REDIS_URL=redis://from-file\nRELAY_LOG_LEVEL=debug\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("RELAY_LOG_LEVEL", "error")
    settings = Settings.load("redis_url")
    assert (settings.redis_url, settings.relay_log_level) == ("redis://from-file", "error")


def test_dotenv_file_is_optional() -> None:
    Path(".env").write_text("REDIS_URL=redis://from-file\n")
    assert Settings.load(env_file=None).redis_url is None
    with pytest.raises(SettingsError, match="REDIS_URL"):
        Settings.load("redis_url", env_file=None)


@pytest.mark.parametrize("name", GOOD)
def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert Settings.load() == Settings.load(env_file=None)
    assert getattr(Settings.load(), name.lower()) == Settings.model_fields[name.lower()].default
    Path(".env").write_text(f"{name}=\n")
    assert problems_with(name.lower())[name].startswith("not set: ")


def test_an_empty_variable_does_not_hide_the_dotenv_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("REDIS_URL=redis://from-file\n")
    monkeypatch.setenv("REDIS_URL", "")
    assert Settings.load().redis_url == "redis://from-file"
    assert Settings.load("redis_url").redis_url == "redis://from-file"


def test_settings_are_immutable() -> None:
    settings = Settings.load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.redis_url = "redis://elsewhere"


# --- mistakes -------------------------------------------------------------------------------------

WRONG = [
    (
        "REDIS_URL",
        "localhost:6379",
        "it must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
    ),
    (
        "REDIS_URL",
        "http://localhost",
        "it must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
    ),
    ("RELAY_PUBLIC_URL", "relay.example.com", "is not a URL such as https://relay.example.com"),
    ("RELAY_PUBLIC_URL", "https://", "is not a URL such as https://relay.example.com"),
    ("RELAY_PUBLIC_URL", "https://[broken", "is not a URL such as https://relay.example.com"),
    ("RELAY_PUBLIC_URL", "ftp://relay.example.com", "is not a URL such as https://relay.example.com"),
    ("RELAY_PUBLIC_URL", "http://relay.example.com", "it must be https: Linq posts to https only"),
    ("RELAY_PUBLIC_URL", "https://relay.example.com?x=1", "it must have no query and no fragment"),
    ("RELAY_PUBLIC_URL", "https://relay.example.com/?", "it must have no query and no fragment"),
    ("RELAY_PUBLIC_URL", "https://relay.example.com/#top", "it must have no query and no fragment"),
    ("RELAY_LISTEN", "localhost", '"localhost" is not HOST:PORT'),
    ("RELAY_ADMIN_LISTEN", "127.0.0.1:65536", '"127.0.0.1:65536" is not HOST:PORT'),
    (
        "RELAY_SECRET_KEY",
        "hunter2",
        "not the urlsafe base64 of 32 bytes; make one with `relay secret generate --for relay`",
    ),
    ("RELAY_DEDUPE_WINDOW", "6", '"6" is not a duration'),
    ("RELAY_DEDUPE_WINDOW", "-6h", '"-6h" is not a duration'),
    ("RELAY_LOG_LEVEL", "loud", 'it must be "debug", "info", "warning" or "error"'),
    ("RELAY_LOG_FORMAT", "xml", 'it must be "auto", "json" or "console"'),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_invalid_variable_is_named_with_its_problem(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    (found,) = problems_with(name.lower()).items()
    assert found[0] == name
    assert message in found[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_PUBLIC_URL", "https://relay.example.com:99999"),
        ("RELAY_PUBLIC_URL", "https://relay .example.com"),
        ("LINQ_API_V3_BASE_URL", "api.linqapp.com"),
        ("LINQ_V2_BASE_URL", "nonsense"),
        ("RELAY_DEDUPE_WINDOW", "0s"),
        ("RELAY_DEDUPE_WINDOW", "0.1ms"),
        ("REDIS_URL", "redis://localhost:x"),
    ],
)
def test_unusable_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert set(problems_with()) == {name}


def test_all_mistakes_are_reported_missing_ones_first(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"RELAY_LISTEN": "nowhere", "RELAY_LOG_LEVEL": "loud", "RELAY_SECRET_KEY": "short"})
    problems = problems_with("redis_url", "relay_secret_key", "linq_api_v3_api_key", "relay_public_url")
    assert list(problems) == [
        *("REDIS_URL", "LINQ_API_V3_API_KEY", "RELAY_PUBLIC_URL"),
        *("RELAY_LISTEN", "RELAY_SECRET_KEY", "RELAY_LOG_LEVEL"),
    ]


def test_variable_may_be_required_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load(relay_secret_key="linq_api_v3_api_key").relay_secret_key is None
    monkeypatch.setenv("LINQ_API_V3_API_KEY", "key")
    with pytest.raises(SettingsError) as caught:
        Settings.load(relay_secret_key="linq_api_v3_api_key")
    assert [problem.place for problem in caught.value.problems] == ["RELAY_SECRET_KEY"]


def test_required_variables_are_reported_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINQ_V2_TOKEN", "token")
    settings = Settings.load()
    settings.require("linq_v2_token", because="nothing")
    with pytest.raises(SettingsError) as caught:
        settings.require("linq_v2_token", "relay_public_url", "linq_v2_webhook_secret", because="v2 wants it")
    assert caught.value.heading == "The environment is not complete (v2 wants it):"
    assert [problem.place for problem in caught.value.problems] == ["RELAY_PUBLIC_URL", "LINQ_V2_WEBHOOK_SECRET"]
    assert caught.value.problems[0].message.startswith("not set: Base URL at which Linq reaches the ingress")


@pytest.mark.parametrize("name", GOOD)
def test_missing_variable_is_explained(name: str) -> None:
    explained = problems_with(name.lower())[name]
    assert explained.startswith("not set: ")
    assert len(explained) > len("not set: ") + 10


@pytest.mark.parametrize("name", GOOD)
def test_errors_do_not_contain_secrets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_all(monkeypatch, GOOD | {"RELAY_SECRET_KEY": "hunter2", "REDIS_URL": "http://:hunter2@redis"})
    monkeypatch.delenv(name)
    with pytest.raises(SettingsError) as caught:
        Settings.load(*Settings.model_fields)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080", "https://a.b/c"])
def test_public_url_is_https_or_loopback(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", url)
    assert Settings.load().relay_public_url == url


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://user:pw@redis:6380/0", "unix:///run/redis.sock"])
def test_redis_url_has_three_forms(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert Settings.load().redis_url == url


# --- display --------------------------------------------------------------------------------------


def test_variables_are_shown_with_secrets_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, GOOD)
    shown = Settings.load().shown()
    assert set(shown) == set(GOOD)
    assert "hunter2" not in str(shown)
    assert KEY not in str(shown)
    assert shown["REDIS_URL"] == "redis://relay:***@redis.internal:6379/1"
    assert shown["RELAY_DEDUPE_WINDOW"] == "1.5h"
    assert shown["RELAY_ADMIN_LISTEN"] == "[::1]:9001"
    assert "hunter2" not in repr(Settings.load()).replace(GOOD["REDIS_URL"], "")


def test_unset_variables_are_not_shown() -> None:
    assert set(Settings.load().shown()) == {
        *(
            "RELAY_KEY_PREFIX",
            "RELAY_SHARDS",
            "RELAY_LISTEN",
            "RELAY_CONFIG",
            "RELAY_DATA_DIR",
            "RELAY_DEDUPE_WINDOW",
            "RELAY_GAP_WINDOW",
        ),
        *("RELAY_REPLICAS", "RELAY_API_RATE", "RELAY_HIDE_BODIES", "RELAY_WORKER_NICE", "RELAY_MEMORY_HIGH_WATER"),
        *("RELAY_MAX_CONNECTIONS", "RELAY_MAX_UNVERIFIED_MIB", "RELAY_IDLE_TIMEOUT", "RELAY_SHUTDOWN_DELAY"),
        *("RELAY_LOG_LEVEL", "RELAY_LOG_FORMAT", "LINQ_API_V3_BASE_URL", "LINQ_V2_BASE_URL"),
    }


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user@localhost", "redis://user@localhost"),
        ("redis://:hunter2@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("rediss://user:hunter2@localhost", "rediss://user:***@localhost"),
        ("redis://user:hun%40ter2@localhost", "redis://user:***@localhost"),
        ("redis://user:hun:ter2@localhost", "redis://user:***@localhost"),
        ("redis://hunter2:hunter2@hunter2", "redis://hunter2:***@hunter2"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_url_is_shown_without_its_password(url: str, masked: str) -> None:
    assert masked_redis_url(url) == masked


@pytest.mark.parametrize(
    "url", ["redis://localhost/0?password=hunter2", "unix:///run/redis.sock?db=1&password=hunter2"]
)
def test_url_is_shown_without_a_password_in_its_query(url: str) -> None:
    assert "hunter2" not in masked_redis_url(url)


@pytest.mark.parametrize("name", ["LINQ_API_V3_BASE_URL", "LINQ_V2_BASE_URL"])
def test_api_url_with_credentials_or_query_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for url in ("https://user:hunter2@example.com", "https://example.com/?token=hunter2"):
        monkeypatch.setenv(name, url)
        with pytest.raises(SettingsError, match="it must have no user, no password") as caught:
            Settings.load()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["REDIS_URL", "RELAY_PUBLIC_URL", "LINQ_API_V3_BASE_URL", "LINQ_V2_BASE_URL", "RELAY_SECRET_KEY"]
)
@pytest.mark.parametrize("scheme", ["https", "redis"])
def test_no_message_shows_a_password(monkeypatch: pytest.MonkeyPatch, name: str, scheme: str) -> None:
    for password in ("hun/ter2", "hun?ter2", "hun#ter2", "hun@ter2", "hun ter2", "hun]ter2"):
        monkeypatch.setenv(name, f"{scheme}://user:{password}@a.b:x")
        with pytest.raises(SettingsError) as caught:
            Settings.load()
        assert "ter2" not in str(caught.value)
        assert "hun" not in str(caught.value)
        assert ("URL" not in name) or ("percent-encode" in str(caught.value)) or "must start with" in str(caught.value)


def test_public_url_with_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", "https://user:hunter2@example.com")
    with pytest.raises(SettingsError, match="no user and no password") as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://relay.example.com:443/below/", "https://relay.example.com/below"),
        ("https://relay.example.com:8443", "https://relay.example.com:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://[2001:db8::443]", "https://[2001:db8::443]"),
    ],
)
def test_public_url_omits_a_default_port(monkeypatch: pytest.MonkeyPatch, url: str, normal: str) -> None:
    monkeypatch.setenv("RELAY_PUBLIC_URL", url)
    assert Settings.load().relay_public_url == normal


@pytest.mark.parametrize("name", ["LINQ_API_V3_API_KEY", "LINQ_V2_TOKEN"])
def test_key_is_stripped_and_must_fit_a_header(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, " the-key\n")
    assert getattr(Settings.load(), name.lower()).get_secret_value() == "the-key"
    for wrong in ("the-k\u00e9y", "the\nkey", "the\x00key".replace("\x00", "\x07")):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(SettingsError, match=f"{name}: it has a character that is not allowed in an HTTP header"):
            Settings.load()
