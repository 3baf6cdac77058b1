"""Commands: each with its examples, and with the options that it shares with others.

A command asks for shared options by the types of its parameters, `View`, `EventFilter` and `Via`; `command` puts their
options in place of them:

    @command(app, examples=("relay topics", "relay topics --json"))
    def topics(view: View) -> None:
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from relay.cli.filters import FILTER_OPTIONS, event_filter
from relay.cli.help import RelayCommand, RelayGroup, verbatim
from relay.cli.output import VIEW_OPTIONS, View
from relay.cli.remote.access import VIA_OPTIONS, Via
from relay.core.event_filter import EventFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def commands(help: str | None = None, *, examples: Sequence[str] = ()) -> typer.Typer:  # noqa: A002  typer's name
    """Return the typer app for the commands of a module; `help` is the text of the group, if they are a group."""
    app = typer.Typer(
        cls=RelayGroup,
        help=help,
        epilog=verbatim("Examples", examples) if examples else None,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )
    app.callback()(_nothing)  # also a module of one command is a group, so that its commands have names
    return app


def command(
    app: typer.Typer,
    name: str | None = None,
    *,
    examples: Sequence[str],
    filters: Sequence[str] = (),
    view: Sequence[str] = tuple(VIEW_OPTIONS),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a command to `app`.

    `filters` are the options (of `FILTER_OPTIONS`) that make up its `EventFilter`, `view` those (of `VIEW_OPTIONS`)
    that make up its `View`.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        epilog = verbatim("Examples", examples)
        app.command(name, cls=RelayCommand, epilog=epilog)(with_options(function, filters, view))
        return function

    return register


def with_options(
    function: Callable[..., None], filters: Sequence[str] = (), view: Sequence[str] = tuple(VIEW_OPTIONS)
) -> Callable[..., None]:
    """Return `function` with single options in place of its parameters of the types `View`, `EventFilter` and `Via`."""
    hints = get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    records: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if hint is View:
            records[parameter.name] = (View, list(view))
            parameters += [_option(name, VIEW_OPTIONS[name], default=False) for name in view]
        elif hint is EventFilter:
            records[parameter.name] = (event_filter, list(filters))
            parameters += [_option(name, FILTER_OPTIONS[name], default=None) for name in filters]
        elif hint is Via:
            records[parameter.name] = (Via, list(VIA_OPTIONS))
            parameters += [_option(name, option, default=None) for name, option in VIA_OPTIONS.items()]
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def call(**values: Any) -> None:
        for name, (build, options) in records.items():
            values[name] = build(**{option: values.pop(option) for option in options})
        function(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _option(name: str, annotation: Any, *, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _nothing() -> None:
    pass
