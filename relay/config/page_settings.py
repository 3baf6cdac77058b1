"""The variables of the page: who may sign in through a reverse proxy, and what each may do."""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from relay.config.telemetry_settings import TelemetrySettings
from relay.core.access.scopes import EVERY_SCOPE, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationInfo

_EXAMPLE = "such as `alice@example.com=operator, *@support.example.com=team/support:read+replay`"
_NO_PROXIES = "not set, but RELAY_PAGE_USER_HEADER is: anyone could send that header; list the proxy's addresses here"
_NO_USERS = "not set, but RELAY_PAGE_USER_HEADER is: say who may do what"
_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

Network = IPv4Network | IPv6Network


class PageUser(NamedTuple):
    """The rights of the users whose names match a pattern."""

    pattern: str
    team: str | None
    """The team; None for an operator."""
    scopes: tuple[Scope, ...]

    def __str__(self) -> str:
        """Return the form of the variable, for the log."""
        role = f"team/{self.team}" if self.team else "operator"
        return f"{self.pattern}={role}:{'+'.join(self.scopes)}"


def _networks(value: Any) -> Any:
    return tuple(ip_network(part) for part in _parts(value)) if isinstance(value, str) else value


def _users(value: Any) -> Any:
    return tuple(map(_user, _parts(value))) if isinstance(value, str) else value


def _user(text: str) -> PageUser:
    pattern, is_pair, right = (part.strip() for part in text.rpartition("="))
    role, _, scopes = right.partition(":")
    kind, _, team = role.partition("/")
    if not is_pair or not pattern or kind not in {"operator", "team"} or (kind == "team") != bool(team):
        raise ValueError(f'"{text}" is not PATTERN=operator or PATTERN=team/NAME, with or without :SCOPES; {_EXAMPLE}')
    unknown = sorted({*scopes.split("+")} - EVERY_SCOPE) if scopes else []
    if unknown:
        known = ", ".join(sorted(EVERY_SCOPE))
        raise ValueError(f'"{text}" has the unknown scope "{unknown[0]}"; the scopes are {known}, joined by +')
    return PageUser(pattern, team or None, tuple(sorted({*map(Scope, scopes.split("+"))} if scopes else EVERY_SCOPE)))


def _parts(text: str) -> Iterable[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def _header(text: Any) -> Any:
    if isinstance(text, str) and not {*text} <= _TOKEN_CHARACTERS:
        raise ValueError("it is not the name of a header, such as `Remote-User`")
    return text


_CHECKED = Field(validate_default=True)


class PageSettings(TelemetrySettings):
    """Variables of the page that the admin listener serves."""

    relay_page_user_header: Annotated[str, BeforeValidator(_header)] | None = None
    """Header in which a reverse proxy names the user that it has signed in, such as `Remote-User` or
    `X-Forwarded-Email`. It counts only in requests from `RELAY_PAGE_PROXIES`, which it requires together with
    `RELAY_PAGE_USERS`. Without it, people sign in to the page with a token.
    """
    relay_page_proxies: Annotated[tuple[Network, ...], BeforeValidator(_networks), _CHECKED] = ()
    """Addresses and networks of the proxies that may name a user, separated by commas, such as `10.0.0.5,
    fd00::/64`. The proxy must remove that header from what its own clients send.
    """
    relay_page_users: Annotated[tuple[PageUser, ...], BeforeValidator(_users), _CHECKED] = ()
    """Users that the proxy may name, and what each may do, separated by commas: `PATTERN=operator` or
    `PATTERN=team/NAME`, each with `:` and scopes joined by `+`, or without for every scope, such as
    `alice@example.com=operator, *@support.example.com=team/support:read+replay`. The first match counts.
    """

    @field_validator("relay_page_proxies", "relay_page_users")
    @classmethod
    def _goes_with_the_header(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a header that anyone could send, or that no user can use."""
        if info.data.get("relay_page_user_header") is not None and not value:
            raise ValueError(_NO_PROXIES if info.field_name == "relay_page_proxies" else _NO_USERS)
        return value

    def is_page_proxy(self, address: str | None) -> bool:
        """Return True if a request from `address` may name its user."""
        try:
            found = ip_address(address or "")
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self.relay_page_proxies)

    def page_user(self, name: str) -> PageUser | None:
        """Return what the user of that name may do; None if nothing."""
        return next((user for user in self.relay_page_users if fnmatchcase(name, user.pattern)), None)
