"""`relay fixtures`: payloads without their content, which a team commits and runs its handler against."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.events import named_problem
from relay.cli.operator import cli_principal
from relay.cli.output import View, counted, print_json, say
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.cli.search_progress import search_progress
from relay.config.load import load_settings
from relay.contracts.facts import Pair
from relay.contracts.fixtures import SUFFIX, Fixture, choose, compare, fixture_of, pair_of
from relay.core.errors import Invalid, RelayError
from relay.core.event_filter import EventFilter
from relay.core.json_text import parse_json
from relay.core.patterns import pattern_problem
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.page import MAX_LIMIT
from relay.services.topics.events import EventQuery
from relay.services.topics.events import search as search_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from relay.cli.remote.access import Access
    from relay.contracts.shapes import Difference
    from relay.services.context import Context
    from relay.services.topics.history.scan import Progress
    from relay.services.topics.history.view import EventView

Fixtures = dict[Pair, list[Fixture]]

TopicOption = Annotated[str | None, typer.Option("--topic", metavar="NAME", help="Only this topic.")]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, metavar="NUMBER", help="Look at this many of the newest events, of each type.")
]

app = commands(
    "Record payloads of real events without their content, and compare them with what topics hold.",
    examples=("relay fixtures record --topic support --out tests/fixtures", "relay fixtures check tests/fixtures"),
)


class HiddenBodies(RelayError):
    """The relay shows no bodies."""

    code = "hidden_bodies"


@command(
    app,
    filters=("since", "until"),
    examples=(
        "relay fixtures record --topic support --out tests/fixtures",
        "relay fixtures record --types 'message.*' --types call.ended --since 7d",
    ),
    view=("json",),
)
def record(
    *,
    topic: TopicOption = None,
    types: Annotated[
        list[str] | None, typer.Option("--types", metavar="PATTERN", help="Only these event types; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to write to; it is created.")] = Path(
        "fixtures"
    ),
    variants: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Keep at least this many payloads of each type and version.")
    ] = 4,
    which: EventFilter,
    limit: LimitOption = 2000,
    via: Via,
    view: View,
) -> None:
    """Write redacted payloads of each event type and version: the structure of real ones, and made-up values.

    Files that exist stay as they are; what they lack is added.
    """
    patterns = [pattern for text in types or () for pattern in text.split(",")]
    for pattern in patterns:
        if problem := pattern_problem(pattern):
            raise typer.BadParameter(problem, param_hint="--types")
    held = run(_held(via.remote(), topic, patterns or [None], which, limit, view))
    kept = _read(out) if out.exists() else {}
    added = [each for pair, seen in sorted(held.items()) for each in choose(seen, kept.get(pair, ()), variants)]
    out.mkdir(parents=True, exist_ok=True)
    for each in added:
        (out / each.name).write_text(each.text, encoding="utf-8")
    unchanged = sum(map(len, kept.values()))
    if view.json:
        print_json({"written": [each.name for each in added], "unchanged": unchanged})
        return
    for each in added:
        say(f"  {each.name}")
    if not held:
        say("No topic holds such an event.")
    say(f"{counted(len(added), 'file')} written to {out}, {unchanged} unchanged.")


@command(
    app,
    filters=("since", "until"),
    examples=("relay fixtures check tests/fixtures", "relay fixtures check tests/fixtures --since 24h --json"),
    view=("json",),
)
def check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of relay fixtures record.")],
    *,
    topic: TopicOption = None,
    additions: Annotated[
        bool, typer.Option("--additions-ok", help="New keys, which most handlers ignore, are no failure.")
    ] = False,
    which: EventFilter,
    limit: LimitOption = 500,
    via: Via,
    view: View,
) -> None:
    """Compare recorded payloads with what topics hold now: keys and types that were added, removed or changed.

    Exit code 1 if there is a difference, 2 if DIR has no usable fixtures. A type that no topic holds is no difference.
    """
    if not directory.is_dir():
        raise typer.BadParameter(f"{directory} is not a directory; relay fixtures record creates it", param_hint="DIR")
    committed = _read(directory)
    if not committed:
        raise typer.BadParameter(f"{directory} has no fixtures; relay fixtures record writes them", param_hint="DIR")
    held = run(_held(via.remote(), topic, sorted({pair.type for pair in committed}), which, limit, view))
    found = compare(committed, held)
    unrecorded, unseen = sorted({*held} - {*committed}), sorted({*committed} - {*held})
    if view.json:
        print_json(
            {
                "compared": [_told(pair, each) for pair, each in found.items()],
                "not_recorded": [pair._asdict() for pair in unrecorded],
                "not_seen": [pair._asdict() for pair in unseen],
            }
        )
    else:
        _print(found, unrecorded, unseen)
    if unrecorded or any(
        each for every in found.values() for each in every if not (additions and each.kind == "added")
    ):
        raise typer.Exit(1)


def _print(found: Mapping[Pair, Sequence[Difference]], unrecorded: Sequence[Pair], unseen: Sequence[Pair]) -> None:
    for pair, differences in found.items():
        if differences:
            say(f"✗ {pair}: {counted(len(differences), 'difference')}", fg="red")
        else:
            say(f"✓ {pair}", fg="green")
        for difference in differences:
            say(f"    {difference}")
    for pair in unrecorded:
        say(f"✗ {pair}: not recorded; relay fixtures record --types {pair.type}", fg="red")
    for pair in unseen:
        say(f"? {pair}: no topic holds such an event", fg="yellow")


def _told(pair: Pair, differences: Sequence[Difference]) -> dict[str, Any]:
    return {**pair._asdict(), "differences": [each._asdict() for each in differences]}


def _read(directory: Path) -> Fixtures:
    """Return the fixtures in a directory; other files in it are ignored.

    Raises:
        typer.BadParameter: a fixture cannot be read.
    """
    found: Fixtures = defaultdict(list)
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            text = path.read_text(encoding="utf-8")
            payload = parse_json(text.encode())
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="DIR") from None
        if pair := pair_of(payload, path.name):
            found[pair].append(Fixture(pair, text))
    return found


async def _held(
    access: Access | None,
    topic: str | None,
    patterns: Sequence[str | None],
    which: EventFilter,
    limit: int,
    view: View,
) -> Fixtures:
    """Return the fixtures of the newest events that topics hold, of each pattern, each structure once."""
    found: dict[Pair, dict[str, Fixture]] = defaultdict(dict)
    for pattern in patterns:
        query = EventQuery(event_type=pattern, topic=topic, since_ms=which.since_ms, until_ms=which.until_ms)
        for fixture in _fixtures(await _search(access, query, limit, view)):
            found[fixture.pair].setdefault(fixture.name, fixture)
    return {pair: [each[name] for name in sorted(each)] for pair, each in found.items()}


def _fixtures(events: Iterable[EventView]) -> Iterable[Fixture]:
    for event in events:
        if event.body.text is None:
            raise HiddenBodies(
                "the relay shows no bodies (RELAY_HIDE_BODIES); run this where it is not set, by an operator"
            )
        if fixture := fixture_of(Pair(event.type, event.version), event.body.text.encode(errors="replace")):
            yield fixture


async def _search(access: Access | None, query: EventQuery, limit: int, view: View) -> Sequence[EventView]:
    with search_progress(view) as progress:
        if access is not None:
            return (await calls.search(access, query, None, limit, None, progress)).events
        async with open_context(load_settings()) as context:
            try:
                return await _search_here(context, query, limit, progress)
            except Invalid as error:
                raise named_problem(error) from None


async def _search_here(
    context: Context, query: EventQuery, limit: int, progress: Callable[[Progress], None]
) -> Sequence[EventView]:
    events: list[EventView] = []
    cursor: str | None = None
    while True:
        most = min(limit - len(events), MAX_LIMIT)
        found = await search_events(context, cli_principal(), query, cursor, most, seconds=None, progress=progress)
        events += found.events
        cursor = found.cursor
        if cursor is None or len(events) >= limit:
            return events
