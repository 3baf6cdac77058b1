"""Help pages: plain text that fits 80 columns, with examples, and commands in groups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONG = 500  # characters: no first sentence is cut
_WHOLE = re.compile(r"(\[default: \d+)\.0\]")  # of a default that is a whole number
_PREFIX = "Value error, "
_RANGE = re.compile(r"; x>=[\d.]+|  \[x>=[\d.]+\]")  # typer's words for a minimum
_BETWEEN = re.compile(r"([\d.]+)<=x<=([\d.]+)")  # and for a minimum and a maximum
_COLUMNS = 80

EXIT_CODES = (
    "0   done",
    "1   failed; the message says why",
    "2   the command line, the environment or relay.toml is wrong",
    "130 stopped by Ctrl-C",
)


def verbatim(title: str, lines: Sequence[str]) -> str:
    """Return a section of an epilog, such as the examples; a long line continues in the next, as a shell takes it."""
    return "\n".join((f"{title}:", *(_wrapped(f"  {line}") for line in lines)))


def _wrapped(line: str) -> str:
    """Break a line before its last options, if it is too long."""
    if len(line) <= _COLUMNS:
        return line
    last = line.rindex(" --", 0, _COLUMNS - 1)
    return f"{line[:last]} \\\n{_wrapped(f'      {line[last + 1 :]}')}"


class _Plain:
    """The parts of a help page that commands and groups have in common.

    They replace those of typer, which show types (`NAME <str>`) and wrap examples.
    """

    epilog: str | None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, arguments without their types."""
        arguments, options = [], []
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                arguments.append((_name(parameter), parameter.help or ""))
            else:
                text = _BETWEEN.sub(r"\1 to \2", _RANGE.sub("", record[1]))
                options.append((record[0], _WHOLE.sub(r"\1]", text)))
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line after the command."""
        arguments = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]  # type: ignore[attr-defined]
        names = [_name(each) if each.required else f"[{_name(each)}]" for each in arguments]
        tail = ["COMMAND", "..."] if isinstance(self, TyperGroup) else []
        return ["[OPTIONS]", *names, *tail]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  click's signature
        """Write the epilog as it is."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write(f"{self.epilog}\n")


class RelayCommand(_Plain, TyperCommand):
    """A command with a plain help page."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; pydantic, which checks values for typer, begins its messages with a prefix."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_PREFIX)
            raise


class RelayGroup(_Plain, TyperGroup):
    """A group of commands with a plain help page."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options and commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, each with its first sentence."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_LONG)) for name, command in found if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())
