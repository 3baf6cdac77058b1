"""`relay subscriptions create`, `change`, `rotate`, `delete` and `export`: subscriptions that are not in relay.toml."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, print_json, printable, say
from relay.cli.subscriptions import NameArgument, app
from relay.config.load import load_settings
from relay.core.durations import parse_duration
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import stored_subscriptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.config.settings import Settings
    from relay.services.deliveries.stored_subscriptions import Changed

__all__ = ["app"]

_KEY = "relay_secret_key"

OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="Another key of its table, as in relay.toml: rate=5, retry=5s,1m, headers.X-Team=crm; repeatable.",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FILE", help="Its keys as TOML, such as secrets that no other process may see; - reads stdin."
    ),
]
VersionOption = Annotated[
    int | None, typer.Option("--version", metavar="N", help="Only if this is still its version; else exit code 1.")
]


@command(
    app,
    examples=(
        "relay subscriptions create crm --topic support --url https://crm.example.com/linq --team crm",
        "relay subscriptions create bot --topic support --url https://bot.example.com --option rate=5",
    ),
    view=("json",),
)
def create(
    name: NameArgument,
    *,
    topic: Annotated[str, typer.Option(metavar="TOPIC", help="The topic whose events are delivered.")],
    url: Annotated[str, typer.Option(metavar="URL", help="The URL to which they are POSTed.")],
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="The team that owns it.")] = None,
    options: OptionOption = None,
    table: TableOption = None,
    why: WhyOption = "",
    view: View,
) -> None:
    """Create a subscription beside those of relay.toml; workers deliver to it within seconds."""
    own = {"name": name, "topic": topic, "url": url} | ({"team": team} if team else {})
    keys = _table(table) | _options(options or []) | own
    _show(run(_create(load_settings(_KEY), keys, why)), "created", view)


@command(
    app,
    examples=("relay subscriptions change crm --option rate=20", "relay subscriptions change crm --unset rate"),
    view=("json",),
)
def change(
    name: NameArgument,
    *,
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Another topic.")] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Another URL.")] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Another team.")] = None,
    options: OptionOption = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="A key to remove; repeatable.")
    ] = None,
    table: TableOption = None,
    version: VersionOption = None,
    why: WhyOption = "",
    view: View,
) -> None:
    """Change keys of a subscription that is not in relay.toml; the others stay."""
    own = {key: value for key, value in {"topic": topic, "url": url, "team": team}.items() if value is not None}
    patch = _table(table) | _options(options or []) | own
    for key in unset or []:
        _put(patch, key, None)
    if not patch:
        raise typer.BadParameter("give what changes: --topic, --url, --team, --option, --unset or --from")
    _show(run(_change(load_settings(_KEY), name, patch, version, why)), "changed", view)


@command(
    app,
    examples=("relay subscriptions rotate crm", "relay subscriptions rotate crm --overlap 7d"),
    view=("json",),
)
def rotate(
    name: NameArgument,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="The time for which the former secret signs as well.")
    ] = "24h",
    version: VersionOption = None,
    view: View,
) -> None:
    """Replace the signing secret of a subscription that is not in relay.toml, and print the new one, once."""
    try:
        seconds = parse_duration(overlap)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from None
    _show(run(_rotate(load_settings(_KEY), name, seconds, version)), "rotated", view)


@command(
    app,
    examples=("relay subscriptions delete crm --why 'a new CRM'", "relay subscriptions delete bot --why unused"),
    view=(),
)
def delete(
    name: NameArgument,
    *,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for relay audit.")],
    version: VersionOption = None,
) -> None:
    """Delete a subscription that is not in relay.toml; what waits for it stays until it is dropped."""
    run(_delete(load_settings(), name, why, version))
    say(f"{name} is deleted. relay subscriptions drop {name} gives up what waits for it, and its dead letters.")


@command(
    app,
    examples=("relay subscriptions export > stored.toml", "relay subscriptions export crm --with-secrets"),
    view=(),
)
def export(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one; without it, all.")] = None,
    *,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Write secret values, not references to variables.")
    ] = False,
) -> None:
    """Write the subscriptions that are not in relay.toml as TOML, to move them there."""
    typer.echo(run(_export(load_settings(), name, with_secrets=with_secrets)), nl=False)


def _show(changed: Changed, verb: str, view: View) -> None:
    """Print a generated secret alone on standard output, for scripts, and the rest on standard error."""
    state = changed.state
    if view.json:
        print_json({"secret": changed.secret, **asdict(state)})
        return
    notes = [f"{state.name} is {verb}: version {state.version}, {state.topic} to {state.url}."]
    if state.unusable:
        notes.append(f"It is not in force: {state.unusable}.")
    if changed.secret is not None:
        typer.echo(changed.secret)
        notes.append("This is its signing secret. Keep it now: it is not shown again.")
    typer.echo(printable("\n".join(notes)), err=True)


def _table(path: Path | None) -> dict[str, Any]:
    """Return the keys in a file of TOML."""
    if path is None:
        return {}
    try:
        return tomllib.loads(sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--from") from None


def _options(options: Sequence[str]) -> dict[str, Any]:
    """Return the keys of `KEY=VALUE`; a value is one of TOML, or else text."""
    table: dict[str, Any] = {}
    for option in options:
        key, separator, text = option.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f'"{option}" is not KEY=VALUE', param_hint="--option")
        _put(table, key, _value(key, text))
    return table


def _value(key: str, text: str) -> Any:
    if key == "retry" and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a key, or one of a table within it such as `headers.X-Team`."""
    outer, dot, inner = key.partition(".")
    if not dot:
        table[outer] = value
        return
    within = table.setdefault(outer, {})
    if not isinstance(within, dict):
        raise typer.BadParameter(f'"{outer}" is given twice, as a value and as a table')
    within[inner] = value


async def _create(settings: Settings, table: dict[str, Any], why: str) -> Changed:
    async with open_context(settings) as context:
        return await stored_subscriptions.create(context, cli_principal(), table, why)


async def _change(settings: Settings, name: str, patch: dict[str, Any], version: int | None, why: str) -> Changed:
    async with open_context(settings) as context:
        return await stored_subscriptions.change(context, cli_principal(), name, patch, version, why)


async def _rotate(settings: Settings, name: str, overlap: float, version: int | None) -> Changed:
    async with open_context(settings) as context:
        return await stored_subscriptions.rotate_secret(context, cli_principal(), name, overlap, version)


async def _delete(settings: Settings, name: str, why: str, version: int | None) -> None:
    async with open_context(settings) as context:
        await stored_subscriptions.delete(context, cli_principal(), name, why, version)


async def _export(settings: Settings, name: str | None, *, with_secrets: bool) -> str:
    async with open_context(settings) as context:
        return await stored_subscriptions.export(context, cli_principal(), name, with_secrets=with_secrets)
