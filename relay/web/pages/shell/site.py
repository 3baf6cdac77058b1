"""The site: the parts of every page, and its visitors."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from aiohttp import web

from relay.net.guesses import Guesses

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.operators.linq import Looker
    from relay.ui.assets import Assets
    from relay.web.pages.jobs import Jobs
    from relay.web.pages.live import Live


NOTICE = "relay_notice"
"""The cookie with the text that the next page shows."""


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that every page has."""

    context: Context
    assets: Assets
    live: Live
    jobs: Jobs
    linq: Looker | None
    """The look at Linq; None where this process has no access to it."""
    guesses: Guesses = field(default_factory=lambda: Guesses(monotonic))
    """Wrong tokens and codes of those who sign in."""


SITE = web.AppKey("site", Site)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser, and who uses it."""

    browser: str
    """The id in its cookie, from which the tokens of its forms are made."""
    principal: Principal | None
    """None before signing in."""
    is_proxied: bool = False
    """True if a reverse proxy named the user, so that there is no signing out."""
