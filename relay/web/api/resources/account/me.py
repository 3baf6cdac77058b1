"""The bearer of the token: its team, its scopes and its topics."""

from __future__ import annotations

from relay.core.access.scopes import Scope
from relay.web.api.models import Output
from relay.web.api.operation import Call, Tag, operation

TAG = Tag("me", "The bearer of the token.")


class Me(Output):
    """The bearer of the token."""

    name: str
    """Its name in the audit."""
    token: str | None
    """The id of the token."""
    team: str | None
    """Its team; null for an operator, who sees every team."""
    scopes: list[Scope]
    topics: list[str] | None
    """The topics that it may read; null if it may read all."""


@operation("GET", "/me", tag=TAG, scope=None)
async def get_me(call: Call) -> Me:
    """Show who the token belongs to, and what it may do."""
    principal = call.principal
    return Me(
        name=principal.name,
        token=principal.token,
        team=principal.team,
        scopes=sorted(principal.scopes),
        topics=None if principal.is_operator else sorted(principal.topics),
    )


OPERATIONS = (get_me,)
