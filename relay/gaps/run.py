"""Runs of the gap finder: the span and the lines of a walk, its resumption, and the walk itself.

The span begins where the message index does, at the earliest: older messages cannot be told from accepted ones. It ends
half an hour ago, unless another end is given: Linq itself still delivers what is younger (ten attempts in 25 minutes).
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.config.linq_accounts import key_and_rules
from relay.core.errors import RelayError
from relay.core.timestamps import utc_text
from relay.gaps.walk import Walker
from relay.linq.api.history import RATE, open_linq_history
from relay.store.gaps.message_index import MessageIndex
from relay.store.gaps.outages import SETTLED_AFTER, forget_outage, pending_outage
from relay.store.gaps.walk_record import Mode, Walk, WalkRecord, WalkState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.linq.api.history import LinqHistory
    from relay.store.driver.client import Redis
    from relay.store.gaps.outages import Outage


class NothingToCompare(RelayError):
    """There is no index, or none for the span that was asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A walk as it was asked for; None for the default."""

    mode: Mode
    since_ms: int | None = None
    until_ms: int | None = None
    lines: tuple[str, ...] = ()
    """Lines to look at; none for all that are registered."""


@dataclass(frozen=True, slots=True)
class GapFinder:
    """The gap finder of one relay and one account."""

    redis: Redis
    history: LinqHistory
    config: RelayConfig
    clock: Callable[[], float]
    window: float
    """`RELAY_GAP_WINDOW`, seconds."""
    account: str | None = None
    """The account of `[[linq.accounts]]`."""

    async def last(self) -> Walk | None:
        """Return the last walk."""
        return await WalkRecord(self.redis, self.account).read()

    async def unfinished(self, asked: Asked) -> Walk | None:
        """Return the last walk if it has not ended and is what was asked for."""
        walk = await self.last()
        if walk is None or walk.state is WalkState.DONE or walk.mode is not asked.mode:
            return None
        return walk if is_same_walk(walk, asked) else None

    async def new(self, asked: Asked) -> Walk:
        """Return a new walk.

        Raises:
            NothingToCompare: there is no message of the span that could be judged.
            LinqApiError: the lines cannot be listed.
        """
        now_ms = round(self.clock() * 1000)
        if not self.window:
            raise NothingToCompare("RELAY_GAP_WINDOW is 0s: nothing is remembered of accepted messages")
        began = await MessageIndex(self.redis).began_ms()
        if began is None:
            raise NothingToCompare(
                "the relay has not begun to remember accepted messages; start a worker: relay up, or relay worker"
            )
        earliest = max(began, now_ms - round(self.window * 1000))
        since = max(asked.since_ms or earliest, earliest)
        until = min(asked.until_ms or now_ms - round(SETTLED_AFTER * 1000), now_ms)
        if since >= until:
            raise NothingToCompare(
                f"nothing to compare: accepted messages are remembered since {utc_text(earliest / 1000)}, and messages "
                f"after {utc_text(until / 1000)} may still be delivered by Linq; give a later --until"
            )
        lines = await self._lines(asked.lines)
        asked_since = asked.since_ms if asked.since_ms is not None and asked.since_ms < since else None
        return Walk(
            secrets.token_hex(4),
            asked.mode,
            since,
            until,
            lines,
            now_ms,
            account=self.account,
            all_lines=not asked.lines,
            asked_since_ms=asked_since,
        )

    async def run(
        self,
        walk: Walk,
        on_progress: Callable[[Walk], None] = lambda _: None,
        only: dict[str, str] | None = None,
        *,
        resume: bool = False,
    ) -> Walk:
        """Walk to the end; with `only`, just through these chats. A resumed walk keeps its progress.

        Raises:
            RelayError: it cannot continue; a later run resumes it.
        """
        if resume:
            walk.state, walk.error = WalkState.WALKING, ""
        else:
            last = await self.last()
            walk.left_before = 0 if last is None else last.left
            await WalkRecord(self.redis, self.account).begin(walk)
        return await Walker(self.redis, self.history, self.config, walk, self.clock, on_progress).run(only)

    async def _lines(self, asked: Sequence[str]) -> list[str]:
        """Return the lines to look at: those asked for, or all that relay.toml registers."""
        listed = (await self.history.lines()).lines
        if unknown := sorted(set(asked).difference(listed)):
            of = f"account {self.account}" if self.account else "this account"
            raise NothingToCompare(f"{unknown[0]} is not a line of {of}; its lines: {', '.join(listed)}")
        linq = self.config.linq
        registered = [
            line for line in listed if line not in linq.exclude and (linq.lines is None or line in linq.lines)
        ]
        lines = [line for line in registered if not asked or line in asked]
        if not lines:
            of, table = ("the account", "[linq]")
            if self.account:
                of, table = f"account {self.account}", "its [[linq.accounts]] table"
            raise NothingToCompare(f"no line of {of} is registered: see lines and exclude in {table}")
        return lines


def is_same_walk(walk: Walk, asked: Asked) -> bool:
    """Return True if a walk has the span and the lines that were asked for."""
    return (
        asked.since_ms in {None, walk.since_ms, walk.asked_since_ms}
        and asked.until_ms in {None, walk.until_ms}
        and (not asked.lines or sorted(asked.lines) == sorted(walk.lines))
    )


async def settle_outage(redis: Redis, accounts: Sequence[str | None]) -> bool:
    """Forget the outage that waits for a backfill if the last walks of all accounts leave nothing of it.

    Returns True if there was one, and nothing is left.
    """
    if (outage := await pending_outage(redis)) is None:
        return False
    walks = [await WalkRecord(redis, account).read() for account in accounts]
    is_settled = all(walk is not None and leaves_nothing(walk, outage) for walk in walks)
    if is_settled:
        await forget_outage(redis)
    return is_settled


def leaves_nothing(walk: Walk, outage: Outage) -> bool:
    """Return True if a walk was through all messages of an outage, and none that a topic takes is missing any more."""
    since_ms = walk.since_ms if walk.asked_since_ms is None else walk.asked_since_ms
    spans = walk.all_lines and since_ms <= outage.from_ms and walk.until_ms >= outage.to_ms
    return spans and walk.state is WalkState.DONE and not walk.left


@asynccontextmanager
async def open_gap_finder(
    settings: Settings,
    redis: Redis,
    config: RelayConfig,
    clock: Callable[[], float],
    rate: float = RATE,
    account: str | None = None,
) -> AsyncIterator[GapFinder]:
    """Open the gap finder of an account: of `[[linq.accounts]]`, or that of LINQ_API_V3_API_KEY.

    Raises:
        SettingsError: its API key is missing.
    """
    key, config = key_and_rules(settings, config, account)
    async with open_linq_history(key, settings.linq_api_v3_base_url, rate) as history:
        yield GapFinder(redis, history, config, clock, settings.relay_gap_window, account)
