"""`relay token`: the tokens of operators and teams, for the API and the page."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_json, print_table, printable, say
from relay.config.load import load_settings
from relay.core.access.scopes import EVERY_SCOPE, Scope
from relay.core.durations import format_duration, parse_duration
from relay.process.event_loop import run
from relay.services.account import tokens
from relay.services.context import open_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.services.account.tokens import NewToken, TokenState

NEVER = "never"
_DAY = 86_400.0

app = commands(
    "Create, list, rotate and revoke the tokens of operators and teams, for the API and the page.",
    examples=("relay token create ci --team crm --scope read --scope subscribe", "relay token list"),
)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The token's id, as relay token list shows it.")]
ExpiresOption = Annotated[
    str, typer.Option("--expires", metavar="DURATION", help="Time until it expires, such as 30d; or never.")
]


@command(
    app,
    examples=(
        "relay token create ci --team crm --scope read --scope subscribe",
        "relay token create alice --scope admin --scope read --expires 30d",
    ),
    view=("json",),
)
def create(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="The use of the token, such as a program or a person.")],
    *,
    team: Annotated[
        str | None, typer.Option(metavar="TEAM", help="The team that it acts for; without one, it is an operator's.")
    ] = None,
    scopes: Annotated[
        list[Scope] | None,
        typer.Option("--scope", metavar="SCOPE", help=f"A right: {', '.join(Scope)}; repeatable. Default: read."),
    ] = None,
    expires: ExpiresOption = "90d",
    why: WhyOption = "",
    view: View,
) -> None:
    """Create a token and print it, once: only its digest is kept."""
    lifetime = _lifetime(expires)
    _show_new(run(_create(load_settings(), label, team, scopes or [Scope.READ], lifetime, why)), view)


@command(app, "list", examples=("relay token list", "relay token list --team crm --json"), view=("wide", "json"))
def list_(
    *,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Only tokens of this team.")] = None,
    view: View,
) -> None:
    """Show the tokens, what each may do, when it ends, and when it was last used."""
    found = run(_list(load_settings(), team))
    if view.json:
        print_json([asdict(token) for token in found])
        return
    rows = [(each.id, each.label, each.team, _scopes(each), _end(each), _used(each)) for each in found]
    print_table("Tokens", ("id", "label", "team", "scopes", "ends", "used"), rows, view)


@command(app, examples=("relay token revoke 4fJ8mQ2xTz0a", "relay token revoke 4fJ8mQ2xTz0a --why leaked"), view=())
def revoke(token_id: IdArgument, *, why: WhyOption = "") -> None:
    """Revoke a token: its next request is refused, and sessions of the page that it opened end."""
    revoked, made = run(_revoke(load_settings(), token_id, why))
    say(f"{revoked.label} ({revoked.id}) is revoked.")
    if made:
        names = ", ".join(f"{each.label} ({each.id})" for each in made)
        say(f"warning: it has made {counted(len(made), 'token')} that still work: {names}", fg="yellow")


@command(
    app,
    examples=("relay token rotate 4fJ8mQ2xTz0a", "relay token rotate 4fJ8mQ2xTz0a --overlap 1h --expires 30d"),
    view=("json",),
)
def rotate(
    token_id: IdArgument,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="Time for which the former secret is still accepted.")
    ] = "24h",
    expires: ExpiresOption = "90d",
    why: WhyOption = "",
    view: View,
) -> None:
    """Give a token a new secret and a new end, and print it, once."""
    seconds = _seconds(overlap, "--overlap")
    _show_new(run(_rotate(load_settings(), token_id, seconds, _lifetime(expires), why)), view)


def _show_new(new: NewToken, view: View) -> None:
    """Print the token alone on standard output, for scripts, and everything else on standard error."""
    token = new.token
    if view.json:
        print_json({"token": new.text, "former_until_ms": new.former_until_ms, **asdict(token)})
        return
    typer.echo(new.text)
    owner = f"team {token.team}" if token.team else "operators"
    notes = [f"{token.label} ({token.id}) of {owner}: {_scopes(token)}; ends {_end(token)}."]
    if new.former_until_ms is not None:
        left = max(new.former_until_ms / 1000 - time.time(), 0.0)
        notes.append(f"The former secret is accepted for {_days(left)} more.")
    notes.append("Keep it now: it is not shown again.")
    typer.echo(printable("\n".join(notes)), err=True)


def _scopes(token: TokenState) -> str:
    return "all" if frozenset(token.scopes) == EVERY_SCOPE else " ".join(token.scopes)


def _end(token: TokenState) -> str:
    if token.state != "valid":
        return token.state
    return NEVER if token.expires_ms is None else f"in {_days(token.expires_ms / 1000 - time.time())}"


def _used(token: TokenState) -> str:
    return NEVER if token.used_ms is None else f"{_days(time.time() - token.used_ms / 1000)} ago"


def _days(seconds: float) -> str:
    """Return a duration in days, or below two in the unit that keeps it short."""
    return f"{seconds / _DAY:.0f}d" if seconds >= 2 * _DAY else format_duration(max(seconds, 0.0))


def _lifetime(text: str) -> float | None:
    return None if text == NEVER else _seconds(text, "--expires", f', or "{NEVER}"')


def _seconds(text: str, option: str, alternative: str = "") -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}{alternative}", param_hint=option) from None


async def _create(
    settings: Settings, label: str, team: str | None, scopes: Sequence[Scope], lifetime: float | None, why: str
) -> NewToken:
    async with open_context(settings) as context:
        return await tokens.create_token(
            context, cli_principal(), label, team=team, scopes=scopes, lifetime=lifetime, why=why
        )


async def _list(settings: Settings, team: str | None) -> list[TokenState]:
    async with open_context(settings) as context:
        return await tokens.list_tokens(context, cli_principal(), team=team)


async def _revoke(settings: Settings, token_id: str, why: str) -> tuple[TokenState, list[TokenState]]:
    """Revoke a token; return it, and the valid tokens that it has made."""
    async with open_context(settings) as context:
        revoked = await tokens.revoke_token(context, cli_principal(), token_id, why)
        others = await tokens.list_tokens(context, cli_principal())
        return revoked, [each for each in others if each.parent == token_id and each.state == "valid"]


async def _rotate(settings: Settings, token_id: str, overlap: float, lifetime: float | None, why: str) -> NewToken:
    async with open_context(settings) as context:
        return await tokens.rotate_token(
            context, cli_principal(), token_id, overlap=overlap, lifetime=lifetime, why=why
        )
