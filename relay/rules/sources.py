"""The part of the rules that is stored in Redis: subscriptions and teams made by the API, read when they have changed.

A read asks for the revision of the subscriptions and for the teams, which are few, in one round trip; the subscriptions
themselves are read only when their revision is another one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from relay.core.errors import StoreError
from relay.store.driver.client import ask
from relay.store.stored_subscriptions.record import parse_record
from relay.store.teams.teams import StoredTeam

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.config.teams import Team
    from relay.store.driver.client import Redis
    from relay.store.stored_subscriptions.record import StoredSubscription


class StoredSources:
    """The stored part of the rules, as it was read last."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.rows: Mapping[bytes, bytes] = {}
        """Records of subscriptions by name, as they are stored."""
        self.records: Mapping[str, StoredSubscription] = {}
        """Parsed records by name; the same objects for as long as they do not change."""
        self.damaged: Mapping[str, str] = {}
        """The reasons why others cannot be parsed, by name."""
        self.teams: Mapping[str, Team] = {}
        """Teams by name."""
        self.are_lost = False
        """True if Redis has lost the subscriptions, all at once: `rows` has what it had. No deletion does that: it
        leaves a revision.
        """
        self.version = 0
        """Number of changes so far. A reader compares it with that of its last look: a read may find a change and then
        fail, or find what another one has just taken.
        """
        self._revision: bytes | None = None
        self._team_rows: Mapping[bytes, bytes] = {}

    async def read(self) -> None:
        """Read what has changed."""
        key = self._redis.key
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(key.subscriptions_revision)
            pipe.hgetall(key.teams)
            revision, team_rows = await pipe.execute(raise_on_error=False)
        if isinstance(revision, Exception):
            raise revision
        self._take_teams(team_rows)
        if revision is None or revision != self._revision:
            # A write in between makes the rows newer than the revision, which costs one more read.
            rows: dict[bytes, bytes] = await ask(self._redis.hgetall(key.subscriptions))
            self._take_rows(revision, rows)

    def _take_teams(self, rows: Any) -> None:
        if isinstance(rows, Exception) or rows == self._team_rows:  # the services of teams report an overwritten key
            return
        self._team_rows = rows
        self.teams = {team.name: team for row in rows.values() if (team := _team(row)) is not None}
        self.version += 1

    def _take_rows(self, revision: bytes | None, rows: Mapping[bytes, bytes]) -> None:
        self._revision = revision
        self.are_lost = bool(self.rows) and revision is None and not rows
        if self.are_lost or rows == self.rows:
            return
        records, damaged = {}, {}
        for key, row in sorted(rows.items()):
            name = key.decode(errors="replace")
            if self.rows.get(key) == row and name in self.records:
                records[name] = self.records[name]
                continue
            try:
                records[name] = parse_record(key, row)
            except StoreError as error:
                damaged[name] = str(error)
        self.rows, self.records, self.damaged = rows, records, damaged
        self.version += 1


def _team(row: bytes) -> Team | None:
    stored = StoredTeam.of(row)
    with suppress(ValidationError):  # written by another client
        return None if stored is None else stored.team
    return None
