"""The views: each calls services and shows what they return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs

from relay.web.pages.views import overview, subscriptions, topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.web.pages.shell.site import View

GET, POST = hdrs.METH_GET, hdrs.METH_POST

ROUTES: Sequence[tuple[str, str, View]] = (
    (GET, "/", overview.show),
    (GET, "/live/overview", overview.live),
    (GET, "/topics", topics.list_),
    (GET, "/topics/{name}", topics.show),
    (POST, "/topics/{name}/drop", topics.drop),
    (GET, "/subscriptions", subscriptions.list_),
    (GET, "/subscriptions/{name}", subscriptions.show),
    (GET, "/subscriptions/{name}/live", subscriptions.live),
    (POST, "/subscriptions/{name}/pause", subscriptions.pause),
    (POST, "/subscriptions/{name}/resume", subscriptions.resume),
    (POST, "/subscriptions/{name}/drop", subscriptions.drop),
)
"""The method, the path and the view of each page."""
