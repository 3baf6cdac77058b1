"""commands.md: every visible command with its arguments, options and help texts, from typer."""

from __future__ import annotations

import inspect
import re
import textwrap
from enum import Enum
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from relay.cli.reference.markdown import generated_from, table

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTRODUCTION = """\
# Commands

`--json` prints JSON for machines. Exit codes: 0 done; 1 failed, or the answer is bad (a ledger that does not balance, a
subscription that does not deliver); 2 the command line, the environment or relay.toml is wrong. Errors go to standard
error, without a traceback.
"""


class Found(NamedTuple):
    """A command of the tree."""

    path: str
    """Its words, such as `relay dead list`."""
    command: Any


def visible_commands(root: Any, name: str = "relay") -> Iterator[Found]:
    """Yield every visible command, groups before their members. Works for lazy groups, too."""
    yield from _walk(root, root.make_context(name, [], resilient_parsing=True), name)


def _walk(command: Any, context: Any, path: str) -> Iterator[Found]:
    yield Found(path, command)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        member = command.get_command(context, name)
        if member is not None and not member.hidden:
            inner = member.make_context(name, [], parent=context, resilient_parsing=True)
            yield from _walk(member, inner, f"{path} {name}")


def runs_by_itself(command: Any) -> bool:
    """Return True if the command does something without a further word."""
    return not hasattr(command, "list_commands") or bool(command.invoke_without_command)


def commands_page(root: Any) -> str:
    """Return the text of commands.md."""
    found = list(visible_commands(root))
    runnable = [each for each in found if runs_by_itself(each.command)]
    parts = [generated_from("the commands in relay/cli") + _INTRODUCTION, *_overview(found)]
    return "\n".join((*parts, *map(_described, runnable)))


def _overview(found: list[Found]) -> Iterator[str]:
    """Yield a table for each panel of `relay --help`, with a link to each command."""
    panels: dict[str, list[tuple[str, str]]] = {}
    panel = ""
    for path, command in found[1:]:
        if path.count(" ") == 1:
            panel = _text(getattr(command, "rich_help_panel", None))
        if runs_by_itself(command):
            link = f"[`{path}`](#{path.replace(' ', '-')})"
            panels.setdefault(panel, []).append((link, _first_sentence(command)))
    for title, rows in panels.items():
        yield (f"**{title}**\n\n" if title else "") + table(("command", ""), rows)


def _described(found: Found) -> str:
    arguments = [p for p in found.command.params if not p.opts[0].startswith("-")]
    options = [p for p in found.command.params if p.opts[0].startswith("-") and not p.hidden and "--help" not in p.opts]
    usage = " ".join((found.path, *("[OPTIONS]" if options else "",), *map(_argument, arguments)))
    parts = [f"## `{found.path}`\n", f"```\n{' '.join(usage.split())}\n```\n", _prose(_help(found.command))]
    rows = [(f"`{_argument(p)}`", _meaning(p)) for p in arguments]
    rows += [(f"`{_option(p)}`", _meaning(p)) for p in options]
    parts += [table(("", ""), rows)] if rows else []
    parts += [_prose(found.command.epilog)] if found.command.epilog else []
    return "\n".join(parts)


def _help(command: Any) -> str:
    return inspect.cleandoc(_text(command.help))


def _first_sentence(command: Any) -> str:
    return re.split(r"(?<=\.)\s", " ".join(_help(command).split("\n\n")[0].split()))[0]


def _prose(text: str) -> str:
    """Return a help text as Markdown; indented lines, such as examples, become a block of code."""
    parts = []
    for paragraph in text.replace("\b", "").strip("\n").split("\n\n"):
        lines = paragraph.splitlines()
        plain = list(takewhile(lambda line: not line.startswith("  "), lines))
        parts += [f"{' '.join(' '.join(plain).split())}\n"] if plain else []
        if code := textwrap.dedent("\n".join(lines[len(plain) :])):
            parts.append(f"```sh\n{code}\n```\n")
    return "\n".join(parts)


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper().replace("_", "-"))


def _option(parameter: Any) -> str:
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {_placeholder(parameter)}"


def _placeholder(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    annotation = parameter.type_descriptor.annotation
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    return {int: "N", float: "NUMBER", str: "TEXT"}.get(annotation, "FILE")


def _meaning(parameter: Any) -> str:
    """Return the help of an argument or option, with its default."""
    default = parameter.default
    notes = ["Required."] if parameter.required and parameter.opts[0].startswith("-") else []
    if not parameter.required and default is not None and not isinstance(default, bool) and default not in ([], ()):
        value = default.value if isinstance(default, Enum) else default
        notes.append(f"Default: `{value:g}`." if isinstance(value, float) else f"Default: `{value}`.")
    return " ".join((_text(parameter.help), *notes))


def _text(value: object) -> str:
    """Return `value` if it is text; typer has placeholders of its own for what is not given."""
    return value if isinstance(value, str) else ""
