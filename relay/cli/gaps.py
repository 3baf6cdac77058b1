"""`relay gaps` and `relay backfill`: messages that Linq has and the relay never got, found and put back."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from relay.cli.bootstrap_ownership import AccountOption, known_account
from relay.cli.command import command, commands
from relay.cli.filters import checked_line, parsed_past_time
from relay.cli.gaps_view import Shown, beginning, print_walk, print_walks
from relay.cli.operator import WhyOption, record
from relay.cli.output import View, counted, say
from relay.cli.progress import progress
from relay.config.file import read_config
from relay.config.linq_accounts import accounts_of, key_and_rules
from relay.config.load import load_settings
from relay.gaps.run import Asked, is_same_walk, open_gap_finder, settle_outage
from relay.linq.api.history import RATE
from relay.linq.api.v3 import open_linq
from relay.parts import open_events
from relay.process.event_loop import run
from relay.rules.current import Rules
from relay.store.gaps.outages import SETTLED_AFTER
from relay.store.gaps.walk_record import Mode, Walk, WalkRecord, WalkState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.gaps.run import GapFinder
    from relay.store.driver.client import Redis

app = commands()

LineOption = Annotated[str | None, typer.Option("--line", metavar="NUMBER", help="Only this line, in E.164.")]
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Only messages from this time on: 2h or 7d (ago), or 2026-09-14T09:15Z.  [default: RELAY_GAP_WINDOW]",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only messages before this time; Linq still retries later ones.  [default: 30m]"),
]
RateOption = Annotated[float, typer.Option(min=0.1, max=1000, metavar="NUMBER", help="Calls to Linq a second at most.")]
RestartOption = Annotated[bool, typer.Option("--restart", help="Begin again, where a former run did not end.")]


class _Job(NamedTuple):
    """A run of the gap finder, as the options have it."""

    asked: Asked
    rate: float
    restart: bool
    account: str | None = None
    """The account of `[[linq.accounts]]`."""


@command(app, examples=("relay gaps --since 6h", "relay gaps --line +16465550123 --since 2026-09-14T09:15Z --json"))
def gaps(
    *,
    line: LineOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    rate: RateOption = RATE,
    restart: RestartOption = False,
    account: AccountOption = None,
    view: View,
) -> None:
    """Compare the messages that Linq has with the events that were accepted; change nothing.

    It reads all chats of the lines through Linq's API. A run that was interrupted is continued by the next one.
    """
    _show_gaps(_Job(_asked(Mode.LOOK, line, since, until), rate, restart, account), view)


@command(
    app, examples=("relay backfill --since 6h --dry-run", "relay backfill --since 6h --yes --why 'outage of the proxy'")
)
def backfill(
    *,
    line: LineOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    rate: RateOption = RATE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is missing; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; put back at once what is found.")] = False,
    restart: RestartOption = False,
    account: AccountOption = None,
    why: WhyOption = "",
    view: View,
) -> None:
    """Put messages that the relay missed into their topics, as history: events that the relay makes itself.

    Topics get each message once, also if Linq still sends its event. Only topics that take history get it.
    """
    if dry_run:
        _show_gaps(_Job(_asked(Mode.LOOK, line, since, until), rate, restart, account), view)
        return
    if not yes and (view.json or not sys.stdin.isatty()):
        raise typer.BadParameter("without a terminal, --yes is needed to confirm the backfill", param_hint="--yes")
    settings = load_settings()
    jobs = _jobs(settings, _Job(_asked(Mode.FILL, line, since, until), rate, restart, account))
    walks = [_backfill(settings, job, why, view, ask=not yes) for job in jobs]
    _settle(settings, view)
    if view.json:
        print_walks(walks)


def _settle(settings: Settings, view: View) -> None:
    """Forget an outage that has lost nothing any more, so that its alert ends."""
    accounts = accounts_of(settings, read_config(settings.relay_config))

    async def settle() -> bool:
        async with open_events(settings) as redis:
            return await settle_outage(redis, accounts)

    if run(settle()) and not view.json:
        say("Nothing is left of the last outage.")


def _backfill(settings: Settings, job: _Job, why: str, view: View, *, ask: bool) -> Walk:
    """Put back what an account lacks, and show it."""
    only = None
    if ask and (job.restart or run(_unfinished(settings, job)) is None):
        plan = run(_look(settings, job._replace(asked=dataclasses.replace(job.asked, mode=Mode.LOOK)), view))
        print_walk(plan, view)
        if plan.missing == plan.untaken:
            return plan
        typer.confirm(f"Put {counted(plan.missing - plan.untaken, 'message')} back?", abort=True)
        asked = dataclasses.replace(job.asked, mode=Mode.FILL, since_ms=plan.since_ms, until_ms=plan.until_ms)
        job, only = job._replace(asked=asked, restart=True), plan.chats_with_gaps
    walk = run(_fill(settings, job, only, why, view))
    if not view.json:
        print_walk(walk, view)
        say(f"{counted(walk.put, 'message')} put back.")
    return walk


def _show_gaps(job: _Job, view: View) -> None:
    settings, walks = load_settings(), list[Walk]()
    for each in _jobs(settings, job):
        walks.append(walk := run(_look(settings, each, view)))
        if not view.json:
            print_walk(walk, view)
    _settle(settings, view)
    if view.json:
        print_walks(walks)
    elif any(walk.missing > walk.untaken for walk in walks):
        say("Put them back with: relay backfill")


def _jobs(settings: Settings, job: _Job) -> list[_Job]:
    """Return the job for each account, or for the one that was asked for."""
    config = read_config(settings.relay_config)
    if (name := known_account(config, job.account)) is not None:
        return [job._replace(account=name)]
    accounts = accounts_of(settings, config)
    if job.asked.lines and len(accounts) > 1:
        return [job._replace(account=run(_account_with(settings, config, job.asked.lines[0])))]
    if len(accounts) == 1:
        return [job]
    last = {} if job.restart else run(_last(settings, job, accounts))
    return _remaining(job, accounts, last)


def _remaining(job: _Job, accounts: Sequence[str | None], last: Mapping[str | None, Walk]) -> list[_Job]:
    """Return the jobs of a run over accounts; one that ended early continues, with the same span, in those left."""
    begun = next((walk for walk in last.values() if walk.state is not WalkState.DONE), None)
    asked = job.asked
    if begun is not None:
        since_ms = begun.since_ms if begun.asked_since_ms is None else begun.asked_since_ms
        asked = dataclasses.replace(asked, since_ms=since_ms, until_ms=begun.until_ms)
        done = {name for name, walk in last.items() if walk is not begun and walk.until_ms == begun.until_ms}
        accounts = [name for name in accounts if name not in done or last[name].state is not WalkState.DONE]
    elif asked.until_ms is None:
        asked = dataclasses.replace(asked, until_ms=round((time.time() - SETTLED_AFTER) * 1000))
    return [job._replace(account=name, asked=asked) for name in accounts]


async def _last(settings: Settings, job: _Job, accounts: Sequence[str | None]) -> dict[str | None, Walk]:
    """Return the last walk of each account that is done with the same purpose, or is what was asked for."""
    async with open_events(settings) as redis:
        walks = {name: await WalkRecord(redis, name).read() for name in accounts}
    return {
        name: walk
        for name, walk in walks.items()
        if walk is not None
        and walk.mode is job.asked.mode
        and (walk.state is WalkState.DONE or is_same_walk(walk, job.asked))
    }


async def _account_with(settings: Settings, config: RelayConfig, line: str) -> str | None:
    """Return the account that has a line."""
    for account in accounts_of(settings, config):
        key, _ = key_and_rules(settings, config, account)
        async with open_linq(key, settings.linq_api_v3_base_url) as api:
            if line in (await api.lines()).lines:
                return account
    raise typer.BadParameter(f"{line} is a line of none of the accounts", param_hint="--line")


def _asked(mode: Mode, line: str | None, since: str | None, until: str | None) -> Asked:
    begin, end = parsed_past_time(since, "--since"), parsed_past_time(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise typer.BadParameter(f'"{since}" is not before "{until}"', param_hint="--since")
    number = checked_line(line)
    begin_ms, end_ms = (None if each is None else round(each) for each in (begin, end))
    return Asked(mode, begin_ms, end_ms, (number,) if number else ())


async def _look(settings: Settings, job: _Job, view: View) -> Walk:
    async with open_events(settings) as redis:
        return await _run(settings, redis, job, None, view)


async def _fill(settings: Settings, job: _Job, only: dict[str, str] | None, why: str, view: View) -> Walk:
    async with open_events(settings) as redis:
        await record(redis, "backfill", _object(job), None, why)
        return await _run(settings, redis, job, only, view)


def _object(job: _Job) -> str:
    lines = ", ".join(job.asked.lines) or "all lines"
    return f"{lines} of account {job.account}" if job.account else lines


async def _unfinished(settings: Settings, job: _Job) -> Walk | None:
    async with open_events(settings) as redis:
        config = await Rules(settings, redis).current()
        async with open_gap_finder(settings, redis, config, time.time, job.rate, account=job.account) as finder:
            return await finder.unfinished(job.asked)


async def _run(settings: Settings, redis: Redis, job: _Job, only: dict[str, str] | None, view: View) -> Walk:
    config = await Rules(settings, redis).current()
    async with open_gap_finder(settings, redis, config, time.time, job.rate, account=job.account) as finder:
        walk, resume = await _walk_of(finder, job)
        if not view.json:
            say(beginning(walk, view, resume=resume))
        with progress() as bar:
            shown = Shown(bar)
            return await finder.run(walk, shown.update, only, resume=resume)


async def _walk_of(finder: GapFinder, job: _Job) -> tuple[Walk, bool]:
    found = None if job.restart else await finder.unfinished(job.asked)
    return (await finder.new(job.asked), False) if found is None else (found, True)
