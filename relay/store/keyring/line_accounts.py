"""The accounts at Linq that lines belong to, as the router needs them for events whose URL names no line.

The subscription of an account as a whole has a secret without a line, and its payloads say which line an event is
about. The holder of that secret can name any line, so what it says counts only for lines of its own account. The
account of a line is what is known first of these:

    relay.toml   the `lines` of the accounts
    Linq         the account whose list has the line (`store.lines.linq_facts`)
    keyring      the accounts in which the line has a secret of ours

A line of which none is known is proved by no account: the next list or `relay bootstrap apply` makes it known.

With one account nothing is asked of an event. With several it is one look into a dictionary, which is renewed every ten
seconds, the keyring only if it has changed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.store.driver.client import ask
from relay.store.isolation import WrongType, checking_types
from relay.store.keyring.keyring import read_records
from relay.store.lines.linq_facts import accounts_in_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set  # noqa: PYI025  the name of the ABC

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

    Accounts = Mapping[str, Set[str | None]]

_INTERVAL = 10.0  # seconds


def may_prove(known: Accounts | None, account: str | None, line: str) -> bool:
    """Return True if an event that the secret of `account` has verified proves a line that its payload names."""
    return known is None or account in known.get(line, ())


def is_of_another(known: Accounts | None, account: str | None, line: str) -> bool:
    """Return True if a line is known to belong to other accounts only."""
    return known is not None and line in known and account not in known[line]


class LineAccounts:
    """The accounts of each line, as they were read last."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._redis = redis
        self._clock = clock
        self.known: Accounts | None = None
        """None while there is one account only."""
        self._config: RelayConfig | None = None
        self._due = 0.0
        self._revision: bytes | None = None
        self._secrets: dict[str, set[str | None]] = {}
        self._has_names = False

    async def begin(self, config: RelayConfig) -> None:
        """Read if that is due, at the begin of a drain."""
        if self._config is not config or self._clock() >= self._due:
            await self.read(config)

    def is_due(self, config: RelayConfig) -> bool:
        """Return True if they must be read again, for these rules."""
        return self._config is not config or (self.known is not None and self._clock() >= self._due)

    async def read(self, config: RelayConfig) -> None:
        """Read what Redis has, and put it in force with the rules; a keyring that was overwritten has what it had."""
        try:
            await checking_types(self._read_keyring())
        except WrongType:  # the ingress and bootstrap report it
            self._revision = None
        known: dict[str, Set[str | None]] | None = None
        if config.linq.accounts or self._has_names:
            known = {**self._secrets, **await self._listed()}
            known.update(dict.fromkeys(config.linq.lines or (), frozenset({None})))
            for account in config.linq.accounts:
                known.update(dict.fromkeys(account.lines or (), frozenset({account.name})))
        self.known, self._config, self._due = known, config, self._clock() + _INTERVAL

    async def _read_keyring(self) -> None:
        revision = await ask(self._redis.get(self._redis.key.keyring_revision))
        if revision is not None and revision == self._revision:
            return
        records, _ = await read_records(self._redis)
        found: dict[str, set[str | None]] = {}
        for record in records:
            if record.line is not None:
                found.setdefault(record.line, set()).add(record.account)
        self._revision, self._secrets = revision, found
        self._has_names = any(record.account is not None for record in records)

    async def _listed(self) -> dict[str, Set[str | None]]:
        try:
            listed = await checking_types(accounts_in_lists(self._redis))
        except WrongType:  # the router reports it when it records a change
            return {}
        return {line: frozenset({account}) for line, account in listed.items()}
