"""relay.toml: the topics and the push subscriptions, as frozen records.

`parse_config` reads the text and either returns a whole `RelayConfig` or raises one `ConfigError` that names every
mistake with its line in the file. Nothing outside the text is read here: secrets stay references until a sender needs
them.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, ValidationError, model_validator

from relay.core.config.egress import Egress
from relay.core.config.endpoint import EndpointTable
from relay.core.config.fields import Duration, Line, Name, Pattern, Size, Table
from relay.core.config.linq import LinqConfig
from relay.core.config.toml_positions import TomlPositions
from relay.core.config.topics import Topic, TopicIndex
from relay.core.durations import format_duration, parse_duration
from relay.core.errors import ConfigError, Problem
from relay.core.event import Freshness

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_RETRY = ("5s", "15s", "30s", "1m", "2m", "3m", "5m", "6m", "7m")
"""Ten attempts over about 25 minutes, as Linq itself retries (https://docs.linqapp.com/guides/webhooks)."""

_REQUIRED_LISTS = {("topics", "events"), ("subscriptions", "secret")}


class AttemptBounds(Table):
    """The `attempts` of a subscription: how much the relay remembers of what it tried."""

    keep: Duration = parse_duration("72h")
    """Seconds."""
    size: Size = 8 * 2**20
    """Bytes of Redis's memory, about."""


class Subscription(EndpointTable):
    """One `[[subscriptions]]` table: a team that wants a topic by HTTP POST."""

    name: Name
    topic: str
    retry: tuple[Duration, ...] = tuple(map(parse_duration, DEFAULT_RETRY))
    """Seconds to wait before the second, third ... attempt; after the last one the delivery is a dead letter."""
    retry_4xx: StrictBool = False
    """Whether a 4xx other than 408, 410, 425 and 429 is worth another attempt."""
    max_age: Annotated[Duration, Field(gt=0)] | None = parse_duration("72h")
    """Seconds after its acceptance that an event is still attempted."""
    timeout: Annotated[Duration, Field(ge=0.1, le=60)] = 10.0
    """Seconds for a whole attempt; Linq itself waits for ten."""
    connect_timeout: Annotated[Duration, Field(ge=0.1, le=60)] = 5.0
    """Seconds of them for the connection."""
    concurrency: Annotated[int, Field(ge=1, le=200, strict=True)] = 50
    """POSTs in flight, at most."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """Deliveries a second; None for as many as there are."""
    breaker: StrictBool = True
    """Whether events wait, untried, while the subscriber is down."""
    paused: StrictBool = False
    ordered: Literal["chat"] | None = None
    """Whether the events of a chat are delivered one at a time, in the order they were accepted."""
    block_on_dead: StrictBool = False
    """Whether a dead letter then holds up the rest of its chat until it is replayed or dropped."""
    events: Annotated[tuple[Pattern, ...] | None, Field(min_length=1)] = None
    """Patterns of the event types that it wants of its topic; None for all."""
    lines: Annotated[tuple[Line, ...] | None, Field(min_length=1)] = None
    """The lines that it wants of its topic; None for all."""
    freshness: Freshness | None = None
    """Only news, or only what Linq recovered later; None for both."""
    attempts: AttemptBounds = AttemptBounds()

    @model_validator(mode="after")
    def _blocks_what_is_ordered(self) -> Self:
        if self.block_on_dead and self.ordered is None:
            raise ValueError('"block_on_dead" has a meaning only with ordered = "chat"')
        return self

    @model_validator(mode="after")
    def _waits_end_before_it_is_too_old(self) -> Self:
        longest = max(self.retry, default=0.0)
        if self.max_age is not None and longest > self.max_age:
            raise ValueError(
                f'"retry" has a wait of {format_duration(longest)}, and "max_age" gives an event up after '
                f"{format_duration(self.max_age)}; shorten the one or lengthen the other"
            )
        return self


class RelayConfig(Table):
    """The whole of relay.toml."""

    linq: LinqConfig = LinqConfig()
    egress: Egress = Egress()
    topics: tuple[Topic, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()

    @cached_property
    def index(self) -> TopicIndex:
        """The topics, compiled for matching."""
        return TopicIndex(self.topics)

    @cached_property
    def subscriptions_by_topic(self) -> dict[str, tuple[Subscription, ...]]:
        """The push subscriptions of each topic that has any."""
        names = dict.fromkeys(subscription.topic for subscription in self.subscriptions)
        return {name: tuple(s for s in self.subscriptions if s.topic == name) for name in names}


def parse_config(text: str, filename: str = "relay.toml") -> RelayConfig:
    """The config that `text` spells.

    Raises:
        ConfigError: with every mistake, each at its line.
    """
    heading = f"{filename} cannot be used:"
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, or numbers and nesting beyond reason
        raise ConfigError(heading, (Problem(filename, f"not TOML: {error}"),)) from None
    places = TomlPositions(text, filename)
    problems = [Problem(places.of(path), message) for path, message in _contradictions(data)]
    config = None
    try:
        config = RelayConfig.model_validate(data)
    except ValidationError as error:
        problems.extend(
            Problem(places.of(detail["loc"]), _sentence(detail)) for detail in error.errors() if not _echo(detail)
        )
    if problems or config is None:
        raise ConfigError(heading, tuple(sorted(problems, key=lambda problem: places.order(problem.place))))
    return config


def subscription_rows(text: str) -> list[dict[str, Any]]:
    """The tables of the subscriptions in `text`, as TOML has them: what serves for a file with mistakes, too."""
    try:
        rows = _list(tomllib.loads(text).get("subscriptions"))
    except (ValueError, RecursionError):
        return []
    return [row if isinstance(row, dict) else {} for row in rows]


def _echo(detail: Any) -> bool:
    """Whether pydantic calls a list too short only because its items were refused, each with an error of its own."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _sentence(detail: Any) -> str:  # noqa: PLR0911  a table, one row a return
    """Pydantic's finding in the words of this file."""
    match detail["type"]:
        case "extra_forbidden":
            return f'unknown key "{detail["loc"][-1]}"'
        case "missing":
            return f'"{detail["loc"][-1]}" is missing'
        case "too_short":
            is_required = (detail["loc"][0], detail["loc"][-1]) in _REQUIRED_LISTS
            way_out = "" if is_required else ", or leave the key out"
            return f"the list is empty; write at least one{way_out}"
        case "string_pattern_mismatch":
            return f'"{detail["input"]}" is not a name; use letters, digits, ".", "_" and "-", at most 64'
        case "too_long":
            return f"it has more than {detail['ctx']['max_length']}"
        case "tuple_type":
            return "it has to be a list"
        case "model_type":
            return "it has to be a table"
        case "value_error":
            return str(detail["ctx"]["error"])
        case _:
            return str(detail["msg"])


def _contradictions(data: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What no table can know alone: names used twice, topics that do not exist, destinations that are refused.

    Looks at raw data, so that it finds these also in a file with other mistakes.
    """
    tables = {
        kind: [t if isinstance(t, dict) else {} for t in _list(data.get(kind))] for kind in ("topics", "subscriptions")
    }
    for kind, rows in tables.items():
        seen: Counter[str] = Counter()
        for position, row in enumerate(rows):
            name = row.get("name")
            if isinstance(name, str):
                seen[name] += 1
                if seen[name] > 1:
                    yield (kind, position, "name"), f'the name "{name}" is used more than once'
    egress = _egress(data)
    topics = [row["name"] for row in tables["topics"] if isinstance(row.get("name"), str)]
    for position, row in enumerate(tables["subscriptions"]):
        topic = row.get("topic")
        if isinstance(topic, str) and topic not in topics:
            known = ", ".join(dict.fromkeys(topics)) or "none is defined"
            yield ("subscriptions", position, "topic"), f'there is no topic "{topic}" (topics: {known})'
        if isinstance(url := row.get("url"), str):
            with suppress(ValueError):  # no URL at all, which is told elsewhere
                if refusal := egress.url_refusal(url):
                    yield ("subscriptions", position, "url"), refusal


def _egress(data: dict[str, Any]) -> Egress:
    try:
        return Egress.model_validate(data.get("egress", {}))
    except ValidationError:
        return Egress()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
