"""Teams that were made by API or command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.config.teams import Team
from relay.store.teams.records import Record, Records

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


class StoredTeam(Record):
    """A team, and its version."""

    name: str
    topics: tuple[str, ...]
    contact: str = ""
    version: int = 1
    """Increased by every change."""
    created_ms: int
    created_by: str

    @property
    def team(self) -> Team:
        """The team as the rules know it."""
        return Team(name=self.name, topics=self.topics, contact=self.contact)


def stored_teams(redis: Redis) -> Records[StoredTeam]:
    """Return the teams by name."""
    return Records(redis, redis.key.teams, StoredTeam)
