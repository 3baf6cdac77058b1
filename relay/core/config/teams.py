"""`[[teams]]` in relay.toml: the teams that help themselves, and the topics that each may read and subscribe to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relay.core.config.egress import Destination, Egress, TeamEgress
from relay.core.config.fields import NAME, Table

EVERY_TOPIC = "*"

TeamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""No dot: the pull groups of a team are `<team>` and `<team>.<anything>`, and no team may own those of another."""


class Team(Table):
    """A `[[teams]]` table: a team, which sees the topics that it is granted and the subscriptions with its name.

    Tokens (`relay token create`) act for a team; see [teams.md](teams.md).
    """

    name: TeamName
    """Unique name: letters, digits, `_` and `-`, at most 64, such as `"crm"`. The team's pull groups begin with it."""
    topics: Annotated[tuple[Annotated[str, Field(pattern=rf"^\*$|{NAME}")], ...], Field(min_length=1)]
    """Topics that the team may read and subscribe to, such as `["support"]`; `["*"]` for all. Each must be defined in
    the same file.
    """
    contact: Annotated[str, Field(max_length=200)] = ""
    """The people to ask, such as `"#crm-oncall, crm@example.com"`."""
    egress: Annotated[tuple[Destination, ...], Field(min_length=1)] | None = None
    """Destinations of the team's subscriptions, in the form of `allow` of `[egress]`, such as `["*.crm.internal"]`; a
    destination must be in both lists. Absent: `[egress]` alone.
    """

    def grants(self, topic: str) -> bool:
        """Return True if the team may read and subscribe to the topic."""
        return EVERY_TOPIC in self.topics or topic in self.topics

    def narrowed(self, egress: Egress) -> Egress:
        """Return the destinations of the team's subscriptions: those of `egress` that are in its own list too."""
        return egress if self.egress is None else TeamEgress(allow=self.egress, relay=egress, team=self.name)
