"""Principals: the authors of requests, and what each may see and do.

An operator (the command line, or a token without a team) sees every team; the bearer of a team's token sees the topics
that the team is granted and what the team owns. What it may not see is answered as if it did not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.access.scopes import Scope
from relay.core.errors import Forbidden

CLI = "cli"
"""The source of what the command line does."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The author of a request, with its rights."""

    name: str
    """The name in the audit: `alice@host`, or a token's label and id."""
    team: str | None
    """The team; None for an operator."""
    scopes: frozenset[Scope]
    topics: frozenset[str] = frozenset()
    """The topics that the team may read; an operator may read all."""
    source: str = CLI
    """The address from which the request came, or `cli`."""
    token: str | None = None
    """The id of the token; None without one."""

    @property
    def is_operator(self) -> bool:
        """True if it sees every team."""
        return self.team is None

    def sees_topic(self, topic: str) -> bool:
        """Return True if it may read the topic."""
        return self.is_operator or topic in self.topics

    def owns(self, team: str | None) -> bool:
        """Return True if what belongs to `team` is its own; an operator owns everything."""
        return self.is_operator or (team is not None and team == self.team)

    def require(self, scope: Scope) -> None:
        """Check that it has the scope; an operator needs it as well.

        Raises:
            Forbidden: it does not.
        """
        if scope not in self.scopes:
            raise Forbidden(
                f'this needs the scope "{scope}"; {self.name} has {", ".join(sorted(self.scopes)) or "none"}'
            )

    def require_operator(self, scope: Scope = Scope.READ) -> None:
        """Check that it is an operator with the scope.

        Raises:
            Forbidden: it is not.
        """
        if not self.is_operator:
            raise Forbidden("this is for operators; a team's token cannot do it")
        self.require(scope)
