"""`relay acl`: the rights at Redis of the relay, of a viewer and of a pulling team."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from relay.cli.command import command, commands
from relay.config.settings import Settings
from relay.core.config.fields import Name
from relay.store.driver.client import keyspace_at
from relay.store.fixed_keys import shard_prefix
from relay.store.keys import PUSH_GROUP_PREFIX
from relay.store.rights.rules import relay_rule, team_rule, viewer_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.keys import Keyspace
    from relay.store.rights.rules import Rule

app = commands()
_NAME = TypeAdapter(Name)

EXAMPLES = (
    "relay acl",
    "relay acl --viewer --user grafana",
    "relay acl --topic support --group billing",
    "relay acl --form file >> users.acl",
)


class Form(StrEnum):
    """The form of the rule."""

    COMMAND = "command"
    FILE = "file"
    RULE = "rule"


@command(app, examples=EXAMPLES)
def acl(
    *,
    viewer: Annotated[bool, typer.Option("--viewer", help="The user of commands that only read.")] = False,
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="The topic that a team pulls from.")] = None,
    group: Annotated[str | None, typer.Option(metavar="GROUP", help="The consumer group of the team.")] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the user; default: relay, relay-viewer or relay-GROUP.")
    ] = None,
    form: Annotated[
        Form,
        typer.Option(
            metavar="FORM",
            help="command: for redis-cli; file: a line of users.acl; rule: for a service that asks for the rule alone.",
        ),
    ] = Form.COMMAND,
) -> None:
    """Print the ACL rule of the relay, of a viewer or of a pulling team; put a password in place of PASSWORD."""
    settings = Settings.load()
    prefixes = [shard_prefix(settings.relay_key_prefix, shard) for shard in range(settings.relay_shards)]
    shards = [keyspace_at(settings.redis_url, prefix) for prefix in prefixes]
    name, rule = _rule(shards, topic, group, viewer=viewer)
    name = user or name
    if not name.isascii() or not name.isprintable() or " " in name:
        raise typer.BadParameter("the name of a Redis user has no spaces", param_hint="--user")
    match form:
        case Form.COMMAND:
            typer.echo(f"ACL SETUSER {name} on >PASSWORD {rule}")
        case Form.FILE:
            typer.echo(f"user {name} on >PASSWORD {rule}")
        case Form.RULE:
            typer.echo(str(rule))


def _rule(shards: Sequence[Keyspace], topic: str | None, group: str | None, *, viewer: bool) -> tuple[str, Rule]:
    """Return the default name of the user, and its rights."""
    if (topic is None) != (group is None) or (viewer and topic is not None):
        raise typer.BadParameter("give either --viewer, or --topic with --group, or none of them")
    relay = shards[0].name
    if viewer:
        return f"{relay}-viewer", viewer_rule(*shards)
    if topic is None or group is None:
        return relay, relay_rule(*shards)
    if not _is_name(topic):
        raise typer.BadParameter(f'"{topic}" is not the name of a topic', param_hint="--topic")
    if group.startswith(PUSH_GROUP_PREFIX):
        text = f'the group name "{group}" is reserved for the relay; choose a name without "{PUSH_GROUP_PREFIX}"'
        raise typer.BadParameter(text, param_hint="--group")
    return f"{relay}-{group}", team_rule(topic, *shards)


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True
