"""The views: each calls services and shows what they return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs

from relay.web.pages.views import (
    access,
    dead_letters,
    events,
    groups,
    linq,
    overview,
    replays,
    subscription_forms,
    subscriptions,
    topics,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.web.pages.shell.page import View

GET, POST = hdrs.METH_GET, hdrs.METH_POST

ROUTES: Sequence[tuple[str, str, View]] = (
    (GET, "/", overview.show),
    (GET, "/live/overview", overview.live),
    (GET, "/topics", topics.list_),
    (GET, "/topics/{name}", topics.show),
    (POST, "/topics/{name}/drop", topics.drop),
    (GET, "/topics/{name}/tail", events.tail),
    (GET, "/events", events.search),
    (GET, "/events/{id}", events.show),
    (POST, "/events/{id}/resend", events.resend),
    (GET, "/messages/{id}", events.show_message),
    (GET, "/subscriptions", subscriptions.list_),
    (POST, "/subscriptions", subscription_forms.create),
    (GET, "/subscriptions/new", subscription_forms.new),
    (GET, "/subscriptions/{name}", subscriptions.show),
    (GET, "/subscriptions/{name}/change", subscription_forms.edit),
    (POST, "/subscriptions/{name}/change", subscription_forms.change),
    (POST, "/subscriptions/{name}/rotate", subscription_forms.rotate),
    (POST, "/subscriptions/{name}/delete", subscription_forms.delete),
    (POST, "/subscriptions/{name}/test", subscription_forms.send_test),
    (GET, "/subscriptions/{name}/live", subscriptions.live),
    (GET, "/subscriptions/{name}/shadow", subscriptions.compare),
    (POST, "/subscriptions/{name}/pause", subscriptions.pause),
    (POST, "/subscriptions/{name}/resume", subscriptions.resume),
    (POST, "/subscriptions/{name}/drop", subscriptions.drop),
    (GET, "/dead", dead_letters.list_),
    (POST, "/dead", dead_letters.change),
    (GET, "/dead/{name}/{id}", dead_letters.show),
    (GET, "/jobs/{id}", dead_letters.job),
    (GET, "/jobs/{id}/live", dead_letters.live_job),
    (GET, "/groups", groups.list_),
    (GET, "/groups/{topic}/{name}", groups.show),
    (POST, "/groups/{topic}/{name}/seek", groups.seek),
    (POST, "/groups/{topic}/{name}/delete", groups.delete),
    (GET, "/groups/{topic}/{name}/dead", groups.list_letters),
    (POST, "/groups/{topic}/{name}/dead", groups.change_letters),
    (GET, "/groups/{topic}/{name}/dead/{id}", groups.show_letter),
    (GET, "/replays", replays.list_),
    (POST, "/replays", replays.start),
    (GET, "/replays/new", replays.new),
    (GET, "/live/replays", replays.live),
    (POST, "/replays/{id}/cancel", replays.cancel),
    (GET, "/lines", linq.list_lines),
    (GET, "/lines/{name}", linq.show_line),
    (GET, "/lines/{name}/opt-outs", linq.list_opt_outs),
    (GET, "/linq", linq.show_linq),
    (GET, "/linq/now", linq.look),
    (GET, "/quarantine", linq.list_quarantined),
    (POST, "/quarantine", linq.change_quarantined),
    (GET, "/quarantine/{id}", linq.show_quarantined),
    (GET, "/contracts", linq.list_contracts),
    (GET, "/contracts/{name}", linq.show_contract),
    (POST, "/contracts/{name}/accept", linq.accept_contract),
    (GET, "/teams", access.list_teams),
    (POST, "/teams", access.create_team),
    (POST, "/teams/{name}/change", access.change_team),
    (POST, "/teams/{name}/delete", access.delete_team),
    (POST, "/tokens", access.create_token),
    (POST, "/tokens/{id}/rotate", access.rotate_token),
    (POST, "/tokens/{id}/revoke", access.revoke_token),
    (GET, "/audit", access.list_audit),
)
"""The method, the path and the view of each page."""
