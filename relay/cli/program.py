"""The table of commands, and the group that imports the module of a command when it is called.

This is click's LazyGroup (https://click.palletsprojects.com/en/stable/complex/#lazily-loading-subcommands): the help
page and the completion of command names read the table only.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
import typer.main

from relay import __version__
from relay.cli.failures import reported
from relay.cli.help import EXIT_CODES, RelayCommand, RelayGroup, verbatim
from relay.cli.interrupts import importing
from relay.cli.terminal import escape_what_cannot_be_encoded
from relay.process.build import revision


class Entry(NamedTuple):
    """Entry of the table: a command, or a group of commands."""

    module: str
    """Below `relay.cli`; its `app` has the command."""
    section: str
    """The heading in the help; empty for a hidden command."""
    help: str
    is_group: bool = False


RUN, OBSERVE, REPAIR, SET_UP = "Run", "Observe", "Repair", "Set up"

TABLE: dict[str, Entry] = {
    "up": Entry("serve", RUN, "Run everything on this machine: Redis if needed, bootstrap, ingress, worker, admin."),
    "ingress": Entry("serve", RUN, "Receive Linq's webhooks."),
    "worker": Entry("serve", RUN, "Route events and deliver them."),
    "admin": Entry("serve", RUN, "Serve the page, the API, health checks and metrics, apart from ingress and worker."),
    "sandbox": Entry("sandbox", RUN, "Simulate Linq: its API, signed webhooks, conversations and faults."),
    "demo": Entry("sandbox", RUN, "Run everything against a sandbox, with two sample teams."),
    "listen": Entry("listen", RUN, "Show a topic's events as they come, and POST them to this machine."),
    "trigger": Entry("trigger", RUN, "Have the sandbox send an event of a given type."),
    "health": Entry("health", OBSERVE, "Check whether a role on this machine works."),
    "ledger": Entry("ledger", OBSERVE, "Show where every event is, and whether the numbers balance."),
    "topics": Entry(
        "topics",
        OBSERVE,
        "Show the topics, their readers and their lag; follow or drop one.",
        is_group=True,
    ),
    "event": Entry("event", OBSERVE, "Show what happened to an event, from its arrival to every delivery."),
    "message": Entry(
        "message", OBSERVE, "Show the life of a message: sent, delivered, read, its reactions and replies."
    ),
    "events": Entry("events", OBSERVE, "Search events by handle, chat, message, line, type and time.", is_group=True),
    "lines": Entry("lines", OBSERVE, "Show our numbers at Linq: activity, health, topics, opt-outs.", is_group=True),
    "attempts": Entry("attempts", OBSERVE, "Search delivery attempts."),
    "shadow": Entry("shadow", OBSERVE, "Compare a shadow with the subscription that it shadows.", is_group=True),
    "audit": Entry("audit", OBSERVE, "Show what operators and teams changed, who, when and why; export it."),
    "alerts": Entry("alerts", OBSERVE, "Show which alerts of the relay itself are firing; send a test.", is_group=True),
    "contracts": Entry(
        "contracts", OBSERVE, "Show what can be read from each event type and version, and what changed.", is_group=True
    ),
    "fixtures": Entry(
        "fixtures", OBSERVE, "Record payloads without their content for tests; compare them.", is_group=True
    ),
    "doctor": Entry("doctor", OBSERVE, "Examine Redis, Linq and every destination; say what to do."),
    "subscriptions": Entry(
        "subscription_changes",
        REPAIR,
        "List, pause, create, change and drop push subscriptions.",
        is_group=True,
    ),
    "dead": Entry("dead", REPAIR, "List, show, replay and drop dead letters.", is_group=True),
    "drain": Entry("drain", REPAIR, "Take no new work and wait until nothing is in flight; take work again."),
    "shards": Entry("shards", REPAIR, "Show the number of shards; grow to more while the relay runs.", is_group=True),
    "quarantine": Entry(
        "quarantine", REPAIR, "List, show, retry and drop webhooks that could not be parsed.", is_group=True
    ),
    "gaps": Entry("gaps", REPAIR, "Compare the messages that Linq has with the events that were accepted."),
    "backfill": Entry("gaps", REPAIR, "Put messages that the relay missed into their topics, as history."),
    "replay": Entry("replay", REPAIR, "Send a topic's history to a push subscription again.", is_group=True),
    "groups": Entry("groups", REPAIR, "List, show, move and delete pull groups.", is_group=True),
    "init": Entry("init", SET_UP, "Write a commented relay.toml and a .env with new secrets."),
    "check": Entry("check", SET_UP, "Check relay.toml."),
    "explain": Entry("explain", SET_UP, "Show which topics and subscriptions an event reaches, and why."),
    "send-test": Entry("send_test", SET_UP, "Send a sample event to a push subscription, marked as a test."),
    "acl": Entry("acl", SET_UP, "Print the Redis rights (ACL) of the relay, a viewer or a pulling team."),
    "bootstrap": Entry(
        "bootstrap", SET_UP, "Plan, apply, rotate and check the webhook subscriptions at Linq.", is_group=True
    ),
    "teams": Entry(
        "teams", SET_UP, "List the teams; create, change and delete those outside relay.toml.", is_group=True
    ),
    "token": Entry(
        "token", SET_UP, "Create, list, rotate and revoke the tokens of operators and teams.", is_group=True
    ),
    "secret": Entry("secret", SET_UP, "Generate secrets.", is_group=True),
    "docs": Entry("docs", "", "Write the reference pages of the documentation."),
    "schemas": Entry("schemas", "", "Write the schemas of events, and the AsyncAPI document."),
}


class LazyGroup(RelayGroup):
    """The commands of `TABLE`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all commands, hidden ones too."""
        return list(TABLE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  click's signature
        """Import a command; None if there is none of that name."""
        if cmd_name not in self.commands and (entry := TABLE.get(cmd_name)):
            with importing():
                loaded: Any = typer.main.get_command(import_module(f"relay.cli.{entry.module}").app)
            command = loaded if entry.is_group else loaded.commands[cmd_name]
            command.name = cmd_name
            command.rich_help_panel = entry.section
            command.hidden = not entry.section
            self.commands[cmd_name] = command
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Refuse an unknown command, with those of a similar name: typer knows only the ones that are imported."""
        if args and args[0] not in TABLE and not args[0].startswith("-"):
            names = [name for name, entry in TABLE.items() if entry.section]
            similar = ", ".join(map(repr, get_close_matches(args[0], names)))
            ctx.fail(f"No such command {args[0]!r}.{f' Did you mean {similar}?' if similar else ''}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  click's signature
        """Write the commands, in their sections."""
        width = max(map(len, TABLE))
        for section in (RUN, OBSERVE, REPAIR, SET_UP):
            rows = [(name.ljust(width), entry.help) for name, entry in TABLE.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the names of commands and options without an import."""
        shown = {
            name: RelayCommand(name, short_help=entry.help, hidden=not entry.section) for name, entry in TABLE.items()
        }
        light = RelayGroup(name=self.name, commands=dict(shown), params=self.params)
        return light.shell_complete(typer.Context(light, info_name=ctx.info_name), incomplete)


app = typer.Typer(
    cls=LazyGroup,
    name="relay",
    no_args_is_help=True,
    epilog="\n\n".join(
        (
            verbatim("Exit codes", EXIT_CODES),
            verbatim("Examples", ("relay up", "relay attempts --id 01J8Z0QF7K --utc")),
            "relay COMMAND --help explains a command.",
        )
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(is_asked: bool) -> None:  # noqa: FBT001  typer calls it so
    if is_asked:
        typer.echo(f"linq-relay {__version__} (revision {revision()})")
        raise typer.Exit


@app.callback()
def relay(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Verify, store, route and deliver every webhook, from Linq to your teams."""


def run() -> int:
    """Run the command line; return the exit code."""
    escape_what_cannot_be_encoded()
    return reported(_call)


def _call() -> int:
    typer.main.get_command(app)(prog_name="relay")
    return 0
