"""`relay bootstrap prune|adopt`: subscriptions at Linq that change hands."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.bootstrap.factory import open_accounts
from relay.bootstrap.needs import needs_of
from relay.bootstrap.ownership.adoption import adopt as adopt_subscription
from relay.bootstrap.ownership.prune import plan_prune
from relay.bootstrap.ownership.prune import prune as prune_subscriptions
from relay.bootstrap.plan import Action
from relay.bootstrap.reconciling.both import FromBoth
from relay.cli.bootstrap_view import print_result, reporter, say_notes, say_waiting, step_summary
from relay.cli.filters import checked_line
from relay.cli.operator import WhyOption, record
from relay.cli.output import JsonOption, View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.core.secret import PREFIX, SigningSecret
from relay.parts import open_store
from relay.process.event_loop import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from relay.bootstrap.factory import Account
    from relay.bootstrap.ownership.adoption import Adoption
    from relay.bootstrap.plan import Step
    from relay.bootstrap.reconciling.v3 import AppliedStep
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

STDIN = Path("-")
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Only this account of [[linq.accounts]].")
]


def prune(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    account: AccountOption = None,
    why: WhyOption = "",
    view: View,
) -> None:
    """Delete what a former RELAY_PUBLIC_URL left at Linq; show it first, and ask.

    Only what is provably the relay's: its secret is stored here, or the relay's owner tag is in its URL.
    """
    steps, notes = run(_plan(account))
    deletions = [step for step in steps if step.action is Action.DELETE]
    if not view.json:
        rows = [(step.owner, step.action.value, step.subscription_id, step.target_url, step.reason) for step in steps]
        print_table("Left at Linq", ("owner", "action", "subscription", "target", "why"), rows, view)
        say_notes(notes)
    if not deletions or not yes:
        if view.json:
            print_json({"pending": len(deletions), "steps": [step_summary(step) for step in steps], "notes": notes})
        if not deletions or view.json:
            return
        if not sys.stdin.isatty():
            raise typer.BadParameter("without a terminal, --yes is needed to confirm it", param_hint="--yes")
        typer.confirm(f"Delete {counted(len(deletions), 'subscription')} at Linq?", abort=True)
    seen = {str(step.subscription_id) for step in deletions}
    results = run(_prune(seen, account, why, reporter(json=view.json)))
    print_result(results, json=view.json)


def adopt(
    subscription_id: Annotated[
        str, typer.Argument(metavar="SUBSCRIPTION_ID", help="The id of the subscription at Linq.")
    ],
    *,
    secret_file: Annotated[
        Path, typer.Option("--secret-file", metavar="FILE", help="The file with its signing secret; - reads stdin.")
    ] = STDIN,
    line: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Its line; needed if it is not filtered by a single one."),
    ] = None,
    account: AccountOption = None,
    why: WhyOption = "",
    json: JsonOption = False,
) -> None:
    """Take over a subscription that was made by other means, with its signing secret.

    Its URL, event types and line filter become those of the relay. Linq never shows a secret again, so a wrong one is
    only noticed by the first event: look at relay bootstrap status.
    """
    checked_line(line)
    adopted = run(_adopt(subscription_id, line, _secret(secret_file), account, why))
    if json:
        print_json(asdict(adopted))
        return
    say(f"{subscription_id} is the subscription of {adopted.line}, generation {adopted.generation}.", fg="green")
    say(f"  before: {adopted.former_url}\n  now:    {adopted.target_url}")
    say("Wait for its next event, then see which secret verified it: relay bootstrap status")


def _secret(path: Path) -> SigningSecret:
    """Read the secret from a file, from standard input, or at the terminal without showing it."""
    hint = "--secret-file"
    try:
        if path != STDIN:
            text = path.read_text(encoding="utf-8").strip()
        elif sys.stdin.isatty():
            text = str(typer.prompt("Its signing secret", hide_input=True)).strip()
        else:
            text = sys.stdin.read().strip()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint=hint) from None
    if not text:
        raise typer.BadParameter("there is no secret in it", param_hint=hint)
    if len(text.split()) > 1:
        raise typer.BadParameter("it has more than one word; give the secret alone", param_hint=hint)
    secret = SigningSecret(text)
    if text.startswith(PREFIX) and secret.decoded is None:
        raise typer.BadParameter(f"what follows {PREFIX} is not base64; a part may be missing", param_hint=hint)
    return secret


async def _plan(account: str | None) -> tuple[list[Step], list[str]]:
    async with _opened(account) as (_, accounts):
        steps = [step for each in accounts for step in await plan_prune(each)]
        return steps, [note for each in accounts for note in each.reconciler.notes]


async def _prune(
    seen: Collection[str], account: str | None, why: str, report: Callable[[AppliedStep], None]
) -> FromBoth[AppliedStep]:
    async with _opened(account) as (redis, accounts):
        await record(redis, "bootstrap prune", ", ".join(sorted(seen)), len(seen), why)
        found = [await prune_subscriptions(each, seen, report, say_waiting) for each in accounts]
        return FromBoth([applied for results in found for applied in results], [])


async def _adopt(
    subscription_id: str, line: str | None, secret: SigningSecret, account: str | None, why: str
) -> Adoption:
    async with _opened(account) as (redis, accounts):
        there = await _account_with(accounts, subscription_id)
        await record(redis, "bootstrap adopt", subscription_id, why=why)
        return await adopt_subscription(there, subscription_id, line, secret, say_waiting)


async def _account_with(accounts: Sequence[Account], subscription_id: str) -> Account:
    """Return the account that has a subscription; where there is one account, that."""
    if len(accounts) > 1:
        for each in accounts:
            if any(there.id == subscription_id for there in await each.api.subscriptions()):
                return each
        raise typer.BadParameter("none of the accounts has this subscription at Linq", param_hint="SUBSCRIPTION_ID")
    return accounts[0]


def known_account(config: RelayConfig, name: str | None) -> str | None:
    """Return `name`, if relay.toml has an account of that name."""
    names = [account.name for account in config.linq.accounts]
    if name is not None and name not in names:
        known = f"there is no account {name} in relay.toml ([[linq.accounts]]: {', '.join(names) or 'none'})"
        raise typer.BadParameter(known, param_hint="--account")
    return name


@asynccontextmanager
async def _opened(account: str | None) -> AsyncIterator[tuple[Redis, list[Account]]]:
    """Yield Redis and the accounts, or the one with this name."""
    settings = load_settings("relay_public_url", "relay_secret_key")
    config = read_config(settings.relay_config)
    settings.require(*needs_of(config), because="the subscriptions are at Linq's v3 API")
    only = known_account(config, account)
    async with open_store(settings) as redis, open_accounts(settings, redis, config, only=only) as accounts:
        yield redis, accounts
