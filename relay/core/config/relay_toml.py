"""relay.toml: the topics and the push subscriptions, as frozen records.

`parse_config` parses the text and either returns a whole `RelayConfig` or raises one `ConfigError` that lists every
mistake with its line in the file. Nothing outside the text is read here: secrets stay references until
`relay.config.secrets.lookup` looks them up.
"""

from __future__ import annotations

import tomllib
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, ValidationError, model_validator

from relay.core.config.alerts import Alerts
from relay.core.config.checks.contradictions import contradictions, rows_of
from relay.core.config.checks.mistakes import message_of
from relay.core.config.checks.toml_positions import TomlPositions
from relay.core.config.egress import Egress
from relay.core.config.endpoint import EndpointTable
from relay.core.config.fields import Duration, Line, Name, Pattern, Size, Table
from relay.core.config.linq import LinqConfig
from relay.core.config.pairs.shadows import SHADOW_DEFAULTS, is_shadow, shadow_problem, with_shadows
from relay.core.config.teams import Team, TeamName
from relay.core.config.topics import DeadBounds, Topic, TopicIndex
from relay.core.durations import format_duration, parse_duration
from relay.core.errors import ConfigError, Problem
from relay.core.event import Freshness

DEFAULT_RETRY = ("5s", "15s", "30s", "1m", "2m", "3m", "5m", "6m", "7m")
"""Ten attempts over about 25 minutes, as Linq itself retries (https://docs.linqapp.com/guides/webhooks)."""


class AttemptBounds(Table):
    """The `attempts` of a subscription: limits of the log of its delivery attempts."""

    keep: Duration = parse_duration("72h")
    """Time for which an attempt is remembered, such as `"72h"`."""
    size: Size = 8 * 2**20
    """Approximate size of the log in Redis's memory, such as `"8MiB"`: half for some 28,000 attempts of 150 bytes, half
    for some 900 failure responses of 4 KiB.
    """


class Subscription(EndpointTable):
    """A `[[subscriptions]]` table: a push subscription, which delivers a topic to a team by HTTP POST."""

    name: Name
    """Unique name: letters, digits, `.`, `_` and `-`, at most 64, such as `"crm"`."""
    topic: str
    """Name of the topic whose events are delivered; it must be defined in the same file. A shadow has that of its
    original.
    """
    team: TeamName | None = None
    """Name of the team that owns the subscription, such as `"crm"`; it must be defined in the same file, and be granted
    the topic. Absent: it belongs to the operators, and no team sees it.
    """
    retry: tuple[Duration, ...] = tuple(map(parse_duration, DEFAULT_RETRY))
    """Waits before the second, third, ... attempt, such as `["5s", "1m", "5m"]`; after the last one, the delivery
    becomes a dead letter. Default: ten attempts over about 25 minutes, as Linq itself retries; `[]` is a single
    attempt.
    """
    retry_4xx: StrictBool = False
    """True if 4xx responses that would be a dead letter at once are retried too: all but 408, 410, 425 and 429, which
    have their own rules.
    """
    max_age: Annotated[Duration, Field(gt=0)] | None = parse_duration("72h")
    """Time after an event was accepted during which it is attempted, such as `"72h"`; after that, it becomes a dead
    letter.
    """
    timeout: Annotated[Duration, Field(ge=0.1, le=60)] = 10.0
    """Timeout of a whole attempt, from `"100ms"` to `"1m"`; Linq itself waits for ten seconds."""
    connect_timeout: Annotated[Duration, Field(ge=0.1, le=60)] = 5.0
    """Timeout of the connection, as part of `timeout`, from `"100ms"` to `"1m"`."""
    concurrency: Annotated[int, Field(ge=1, le=200, strict=True)] = 50
    """Maximum number of requests in flight, from 1 to 200."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    """Maximum number of deliveries per second, such as `20`. Absent: no limit."""
    breaker: StrictBool = True
    """True if a circuit breaker protects the subscriber: while it is down, events wait and use no attempts. `false`
    attempts every event at once, on its own schedule.
    """
    paused: StrictBool = False
    """True if the subscription is paused: all events wait. `relay subscriptions pause` does the same without a change
    of the file.
    """
    ordered: Literal["chat"] | None = None
    """`"chat"` delivers the events of a chat one at a time, in the order in which they were accepted; other chats do
    not wait. Absent: no order.
    """
    block_on_dead: StrictBool = False
    """True if a dead letter blocks its chat until it is replayed (before the events that wait behind it) or dropped;
    only with `ordered`.
    """
    events: Annotated[tuple[Pattern, ...], Field(min_length=1)] | None = None
    """Patterns of the event types to deliver, as in a topic, such as `["message.*"]`; other events of the topic count
    as `filtered`. Absent: all.
    """
    lines: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    """Lines whose events are delivered, in E.164, as in a topic; events of other lines count as `filtered`. Absent:
    all.
    """
    freshness: Freshness | None = None
    """`"live"` delivers only new events, `"history"` only those that Linq recovered later; the rest counts as
    `filtered`. Absent: both.
    """
    api: Literal["v3", "v2"] | None = None
    """Webhook API of Linq whose events are delivered, as in a topic: `"v3"` or `"v2"`; the rest counts as `filtered`.
    Absent: both.
    """
    shape: Literal["2025-01-01", "2026-02-03"] | None = None
    """Version of Linq's v3 payloads in which events are delivered, for a handler that was not moved yet, such as
    `"2025-01-01"`. A body of the other version is translated, signed again and marked with `Relay-Shape`; v2 is not
    translated. Absent: as Linq sent it.
    """
    attempts: AttemptBounds = AttemptBounds()
    """Limits of the attempt log, such as `{ keep = "72h", size = "8MiB" }`."""
    dead: DeadBounds = DeadBounds()
    """Limits of the dead letters, such as `{ keep = "720h", size = "256MiB" }`; beyond them the oldest are deleted, and
    the ledger counts them as `discarded`.
    """
    shadow_of: Name | None = None
    """Name of another subscription, whose deliveries this one gets too: a shadow, such as a new service that is
    compared with the old one. It has the topic, filters and team of that one. Nothing of it raises an alert, and it
    never keeps a topic from being trimmed. It has three attempts (`retry = ["5s", "30s"]`), `max_age = "1h"` and
    `dead = { keep = "24h", size = "16MiB" }` unless it says otherwise. Absent: it is no shadow.
    """
    compare: Literal["body"] | None = None
    """`"body"` keeps the start and a digest of each answer, also of the original's, so that `relay shadow report`
    compares them; only with `shadow_of`. Absent: status and time are compared.
    """
    replies: StrictBool = False
    """True if the subscriber answers messages itself; `relay check` and `relay doctor` warn of two such subscriptions
    that get the messages of one line.
    """

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_a_shadow(cls, row: Any) -> Any:
        return {**SHADOW_DEFAULTS, **row} if isinstance(row, dict) and is_shadow(row) else row

    @model_validator(mode="after")
    def _shadow_is_bounded(self) -> Self:
        if problem := shadow_problem(self):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _blocking_needs_order(self) -> Self:
        if self.block_on_dead and self.ordered is None:
            raise ValueError('"block_on_dead" needs ordered = "chat"; add it, or remove "block_on_dead"')
        return self

    @model_validator(mode="after")
    def _waits_end_before_max_age(self) -> Self:
        longest = max(self.retry, default=0.0)
        if self.max_age is not None and longest > self.max_age:
            raise ValueError(
                f'"retry" has a wait of {format_duration(longest)}, but "max_age" ends the attempts after '
                f"{format_duration(self.max_age)}; shorten the wait or raise max_age"
            )
        return self


class RelayConfig(Table):
    """The whole of relay.toml."""

    linq: LinqConfig = LinqConfig()
    """The `[linq]` table: the subscriptions that bootstrap maintains at Linq."""
    egress: Egress = Egress()
    """The `[egress]` table: the destinations that push deliveries may connect to."""
    alerts: Alerts | None = None
    """The `[alerts]` table: webhooks about problems. Absent: none are sent."""
    teams: tuple[Team, ...] = ()
    """The `[[teams]]` tables."""
    topics: tuple[Topic, ...] = ()
    """The `[[topics]]` tables."""
    subscriptions: tuple[Subscription, ...] = ()
    """The `[[subscriptions]]` tables: push subscriptions. Pull subscribers need none; they read the topic's stream."""

    @cached_property
    def index(self) -> TopicIndex:
        """Topics compiled for matching."""
        return TopicIndex(self.topics)

    @cached_property
    def topic_names(self) -> frozenset[str]:
        """The names of the topics."""
        return frozenset(topic.name for topic in self.topics)

    @cached_property
    def teams_by_name(self) -> dict[str, Team]:
        """The teams of the file by name."""
        return {team.name: team for team in self.teams}

    def egress_of(self, team: str | None) -> Egress:
        """Return the destinations of the subscriptions of a team, or with None of the operators."""
        found = None if team is None else self.teams_by_name.get(team)
        return self.egress if found is None else found.narrowed(self.egress)

    @cached_property
    def subscription_names(self) -> frozenset[str]:
        """The names of the push subscriptions."""
        return frozenset(subscription.name for subscription in self.subscriptions)

    @cached_property
    def shadows(self) -> dict[str, str]:
        """The shadow subscriptions, each with the name of its original."""
        return {each.name: each.shadow_of for each in self.subscriptions if each.shadow_of is not None}

    @cached_property
    def compared(self) -> frozenset[str]:
        """The names of the subscriptions whose answers are kept, since a shadow is compared by them."""
        pairs = ((each.name, each.shadow_of) for each in self.subscriptions if each.compare is not None)
        return frozenset(name for pair in pairs for name in pair if name is not None)

    @cached_property
    def subscriptions_by_topic(self) -> dict[str, tuple[Subscription, ...]]:
        """Push subscriptions by the name of their topic."""
        found: dict[str, list[Subscription]] = {}
        for subscription in self.subscriptions:
            found.setdefault(subscription.topic, []).append(subscription)
        return {name: tuple(subscriptions) for name, subscriptions in found.items()}


def tables_in(text: str) -> dict[str, Any] | None:
    """Return the TOML tables in `text`, not checked; None if it is not TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_config(text: str, filename: str = "relay.toml", tables: dict[str, Any] | None = None) -> RelayConfig:
    """Parse the config in `text`, of which `tables` are the TOML tables if they are known.

    Raises:
        ConfigError: it has mistakes; lists each with its line.
    """
    heading = f"{filename} cannot be used:"
    try:
        data = tomllib.loads(text) if tables is None else tables
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, or numbers too long and nesting too deep
        raise ConfigError(heading, (Problem(filename, f"not TOML: {error}"),)) from None
    positions = TomlPositions(text, filename)
    problems = [Problem(positions.of(path), message) for path, message in contradictions(data)]
    config = None
    try:
        config = RelayConfig.model_validate(with_shadows(data))
    except ValidationError as error:
        problems.extend(
            Problem(positions.of(detail["loc"]), message_of(detail))
            for detail in error.errors()
            if not _is_consequence(detail)
        )
    if problems or config is None:
        raise ConfigError(heading, tuple(sorted(problems, key=lambda problem: positions.order(problem.place))))
    return config


def endpoint_rows(data: dict[str, Any]) -> dict[tuple[str | int, ...], dict[str, Any]]:
    """Return those of the raw TOML tables that describe endpoints, by their paths: the subscriptions, then `[alerts]`.

    Also works for a file with mistakes.
    """
    rows: dict[tuple[str | int, ...], Any] = {
        ("subscriptions", position): row for position, row in enumerate(rows_of(data, "subscriptions"))
    }
    if "alerts" in data:
        rows["alerts",] = data["alerts"]
    return {path: row if isinstance(row, dict) else {} for path, row in rows.items()}


def _is_consequence(detail: Any) -> bool:
    """Return True if a list is too short only because its items were refused, each with an error of its own."""
    return detail["type"] == "too_short" and bool(detail["input"])
