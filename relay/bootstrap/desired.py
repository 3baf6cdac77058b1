"""The desired state at Linq: the lines, the event types, and the URL that Linq posts to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.bootstrap.plan import DesiredState
from relay.config.variable_forms import LOOPBACK
from relay.core.errors import LinqApiError, Problem, SettingsError
from relay.core.lines import line_meant_by
from relay.core.patterns import matches
from relay.linq.api.v3 import KNOWN_EVENT_TYPES, ListedLines
from relay.linq.payloads.event_types import REACTED_TO, V2_TYPES, is_of_lines, is_of_the_account
from relay.process.tasks import in_background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.v3 import LinqApi


_KNOWN_OF_LINES = tuple(filter(is_of_lines, KNOWN_EVENT_TYPES))


async def desired_state_of(config: RelayConfig, public_url: str, api: LinqApi) -> DesiredState:
    """Return the desired state that follows from relay.toml and the account.

    Raises:
        LinqApiError: Linq failed, or there is nothing to register.
    """
    async with in_background(api.event_types()) as event_types:
        listed, offered = await _listed(config, api), await event_types
    events = requested_events(config, offered)
    of_lines = frozenset(filter(is_of_lines, events))
    patterns = _patterns(config, config.linq.events)
    if not of_lines and any(matches(pattern, known) for pattern in patterns for known in _KNOWN_OF_LINES):
        raise LinqApiError("Linq lists no event type of lines that relay.toml requests; nothing is changed")
    of_the_account = {*filter(is_of_the_account, events), *REACTED_TO.intersection(offered)}
    meant = filter(None, map(line_meant_by, listed.unreadable))  # "+1 (646) 555-0123" is a line, and is reported
    lines = sorted({*listed.lines, *meant} - {*config.linq.exclude})
    if not lines:
        raise LinqApiError("every line that Linq lists is excluded in relay.toml ([linq] exclude)")
    return DesiredState(
        public_url,
        lines if of_lines else (),
        of_lines,
        frozenset(of_the_account) if config.linq.account else frozenset(),
        patterns=patterns,
        wants_account=config.linq.account,
        excluded=frozenset(config.linq.exclude) if config.linq.lines is None and of_lines else None,
        unreadable=listed.unreadable,
    )


async def _listed(config: RelayConfig, api: LinqApi) -> ListedLines:
    return await api.lines() if config.linq.lines is None else ListedLines(config.linq.lines)


def requested_events(config: RelayConfig, offered: Sequence[str]) -> frozenset[str]:
    """Return the event types to subscribe to, of those that Linq offers: by `[linq] events`, else by the topics.

    Raises:
        LinqApiError: there are none.
    """
    return _requested(config, config.linq.events, offered, "Linq")


def requested_v2_events(config: RelayConfig) -> frozenset[str]:
    """Return the event types to subscribe to at the v2 API: by `[linq.v2] events`, else by the topics.

    Raises:
        LinqApiError: there are none.
    """
    return _requested(config, config.linq.v2.events if config.linq.v2 else None, V2_TYPES, "Linq's v2 API")


def _requested(config: RelayConfig, chosen: Sequence[str] | None, offered: Sequence[str], api: str) -> frozenset[str]:
    patterns = _patterns(config, chosen)
    events = frozenset(event for event in offered if any(matches(pattern, event) for pattern in patterns))
    if not events:
        asking = "relay.toml requests no" if chosen else "no topic of relay.toml requests an"
        raise LinqApiError(f"{asking} event type that {api} offers; there is nothing to subscribe to")
    return events


def _patterns(config: RelayConfig, chosen: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(chosen or {pattern: None for topic in config.topics for pattern in topic.events})


def public_url_of(settings: Settings, linq: str | None = None) -> str:
    """Return RELAY_PUBLIC_URL, checked for the Linq that posts there: the one at the URL `linq`, by default v3's.

    Raises:
        SettingsError: it is plain http, and Linq's API is not: it is no sandbox (which is on the ingress's machine).
    """
    public = str(settings.relay_public_url)
    poster = urlsplit(linq or settings.linq_api_v3_base_url)
    if urlsplit(public).scheme == "http" and poster.scheme == "https" and poster.hostname not in LOOPBACK:
        problem = Problem("RELAY_PUBLIC_URL", f'"{public}" must be https: Linq posts to nothing else')
        raise SettingsError("The environment is not complete:", (problem,))
    return public
