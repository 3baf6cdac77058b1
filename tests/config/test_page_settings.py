"""The variables of the page: a header that anyone could send is refused, and users have the rights of their pattern."""

from __future__ import annotations

import pytest

from relay.config.settings import Settings
from relay.core.access.scopes import EVERY_SCOPE
from relay.core.errors import SettingsError

HEADER, PROXIES, USERS = "RELAY_PAGE_USER_HEADER", "RELAY_PAGE_PROXIES", "RELAY_PAGE_USERS"
GIVEN = {
    HEADER: "Remote-User",
    PROXIES: "10.0.0.5, fd00::/8",
    USERS: "alice@x.com=operator, *@support.com=team/support:read+replay",
}


def load(monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in {**GIVEN, **changes}.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def test_the_first_matching_pattern_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    alice, bob = settings.page_user("alice@x.com"), settings.page_user("bob@support.com")
    assert alice is not None
    assert bob is not None
    assert alice.team is None
    assert frozenset(alice.scopes) == EVERY_SCOPE
    assert (bob.team, bob.scopes) == ("support", ("read", "replay"))
    assert settings.page_user("mallory@x.com") is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.5", True),
        ("::ffff:10.0.0.5", True),
        ("fd12::1", True),
        ("10.0.0.6", False),
        ("", False),
        (None, False),
        ("unix", False),
    ],
)
def test_only_listed_addresses_are_proxies(
    monkeypatch: pytest.MonkeyPatch, address: str | None, *, expected: bool
) -> None:
    assert load(monkeypatch).is_page_proxy(address) is expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({PROXIES: ""}, "RELAY_PAGE_PROXIES: not set, but RELAY_PAGE_USER_HEADER is: anyone could send that header"),
        ({USERS: ""}, "RELAY_PAGE_USERS: not set, but RELAY_PAGE_USER_HEADER is"),
        ({USERS: "alice"}, '"alice" is not PATTERN=operator or PATTERN=team/NAME'),
        ({USERS: "alice=team/"}, '"alice=team/" is not PATTERN=operator or PATTERN=team/NAME'),
        ({USERS: "alice=team/x:write"}, 'unknown scope "write"; the scopes are admin, read, replay, subscribe'),
        ({PROXIES: "10.0.0.1/8"}, "RELAY_PAGE_PROXIES: 10.0.0.1/8 has host bits set"),
        ({HEADER: "Remote User"}, "RELAY_PAGE_USER_HEADER: it is not the name of a header"),
    ],
)
def test_mistakes_are_refused(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **changes)
    assert message in str(caught.value)


def test_the_log_shows_the_form_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = load(monkeypatch, **{USERS: "a=team/x:replay+read", PROXIES: "10.0.0.5, fd00::/64"}).shown()
    assert shown[PROXIES] == "10.0.0.5/32, fd00::/64"
    assert shown[USERS] == "a=team/x:read+replay"  # in one order: a fingerprint of the settings is made of it
