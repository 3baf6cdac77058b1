"""`relay quarantine`: what Linq signed and the relay could not read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from relay.cli.filters import DryRunOption, ReasonOption, SinceOption, UntilOption, moment_meant
from relay.cli.output import JsonOption, console, local_time, print_json, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.settings import Settings
    from relay.store.inbox.quarantine import QuarantinedBody, Readable

    Filter = Callable[[QuarantinedBody], bool]

quarantine = typer.Typer(
    name="quarantine",
    help="Bodies that Linq signed and nobody could read: list, show, retry, drop.",
    no_args_is_help=True,
)

EntryOption = Annotated[str | None, typer.Option("--id", help="Only the one of this id.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that was set aside.")]

log = structlog.get_logger()


@quarantine.command(name="list")
def list_(
    *,
    entry: EntryOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    json: JsonOption = False,
) -> None:
    """List what was set aside, oldest first."""
    found = _find(_filter(entry, reason, since, until))
    if json:
        print_json([_summary(one) for one in found])
        return
    columns = ("id", "api", "line", "came", "bytes", "reason")
    rows = [(one.entry, one.dialect, one.line, local_time(one.at), len(one.body), one.reason) for one in found]
    print_table(f"Bodies set aside: {len(rows)}", columns, rows)


@quarantine.command()
def show(
    *,
    entry: EntryOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was set aside whole."""
    found = _find(_filter(entry, reason, since, until))
    if json:
        print_json([{**_summary(one), "body": one.body.decode(errors="replace")} for one in found])
    elif not found:
        console.print("Nothing found.")
    else:
        for one in found:
            print_table(f"Set aside {one.entry}", ("field", "value"), _summary(one).items())
            typer.echo(printable(one.body.decode(errors="replace")))
    if not found:
        raise typer.Exit(1)


@quarantine.command()
def retry(
    *,
    entry: EntryOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Read such bodies again, as after an upgrade; those that can be read now go the way of every event."""
    fits = _filter(entry, reason, since, until, every=every)
    from relay.parts import load_settings
    from relay.process.event_loop import run

    result = run(_retry(load_settings(), fits, dry_run=dry_run))
    if json:
        print_json(result)
    else:
        readable = "could be read now" if dry_run else "accepted"
        console.print(
            f"{result['accepted']} {readable}, {result['repeats']} repeated, {result['unreadable']} unreadable"
        )
    if entry and not result["accepted"] + result["repeats"]:
        raise typer.Exit(1)


@quarantine.command()
def drop(
    why: Annotated[str, typer.Argument(help="Why, for the log.")],
    *,
    entry: EntryOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Drop such bodies for good; the ledger keeps their number."""
    fits = _filter(entry, reason, since, until, every=every)
    from relay.parts import load_settings
    from relay.process.event_loop import run

    dropped = run(_drop(load_settings(), fits, why, dry_run=dry_run))
    if json:
        print_json({"dropped": dropped})
    else:
        console.print(f"{dropped} {'would be dropped' if dry_run else 'dropped'}")
    if entry and not dropped:
        raise typer.Exit(1)


def _filter(
    entry: str | None, reason: str | None, since: str | None, until: str | None, *, every: bool = True
) -> Filter:
    """Which are meant by the options; nothing but --all means all of them."""
    if not (every or entry or reason or since or until):
        raise typer.BadParameter("say which: --id, --reason, --since, --until, or --all")
    since_ms, until_ms = moment_meant(since, "--since"), moment_meant(until, "--until")

    def fits(one: QuarantinedBody) -> bool:
        return (
            entry in {None, one.entry}
            and (reason is None or reason in one.reason)
            and (since_ms is None or one.at >= since_ms)
            and (until_ms is None or one.at < until_ms)
        )

    return fits


def _find(fits: Filter) -> list[QuarantinedBody]:
    from relay.parts import load_settings
    from relay.process.event_loop import run

    return run(_read(load_settings(), fits))


async def _read(settings: Settings, fits: Filter) -> list[QuarantinedBody]:
    from relay.parts import open_store
    from relay.store.inbox.quarantine import Quarantine

    async with open_store(settings) as redis:
        return [one async for one in Quarantine(redis).all() if fits(one)]


async def _retry(settings: Settings, fits: Filter, *, dry_run: bool) -> dict[str, int]:
    from relay.parts import open_store
    from relay.store.inbox.quarantine import Quarantine

    async with open_store(settings) as redis:
        found = [_read_again(one) async for one in Quarantine(redis).all() if fits(one)]
        readable = [one for one in found if one is not None]
        accepted, repeats = len(readable), 0
        if not dry_run:
            window_ms = round(settings.relay_dedupe_window * 1000)
            accepted, repeats = await Quarantine(redis).retry(readable, window_ms, round(time.time() * 1000))
    return {"accepted": accepted, "repeats": repeats, "unreadable": len(found) - len(readable)}


def _read_again(one: QuarantinedBody) -> Readable | None:
    """The event that a body is after all; None if it still cannot be read."""
    from relay.core.event import Dialect
    from relay.linq.payloads.decode import decode
    from relay.store.inbox.quarantine import Readable

    try:
        event = decode(Dialect(one.dialect), one.body, one.line).event
    except Exception:  # noqa: BLE001  what broke the router once may break us here, and stays where it is
        return None
    return Readable(one.entry, event.id, event.type)


async def _drop(settings: Settings, fits: Filter, why: str, *, dry_run: bool) -> int:
    from relay.parts import open_store
    from relay.store.inbox.quarantine import Quarantine

    async with open_store(settings) as redis:
        entries = [one.entry async for one in Quarantine(redis).all() if fits(one)]
        if dry_run:
            return len(entries)
        dropped = await Quarantine(redis).drop(entries)
    log.warning("quarantine.dropped", bodies=dropped, why=why)
    return dropped


def _summary(one: QuarantinedBody) -> dict[str, Any]:
    return {
        "id": one.entry,
        "api": one.dialect,
        "line": one.line,
        "came_at": one.at,
        "bytes": len(one.body),
        "reason": one.reason,
    }
