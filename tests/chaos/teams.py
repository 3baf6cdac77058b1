"""Topics, push subscriptions, the behaviour of their servers, and the relay.toml for them.

Only the good team gets every event. The others, of which most misbehave in one way each, have a line or two, so that a
run tests their effect on the relay and not how many requests this machine can serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.events import LINES, ORDERED_LINE, line_of, secret_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PULL_TOPIC = "everything"
PULL_GROUP = "archive"
"""Consumer group of the pull team."""

TOPICS: dict[str, frozenset[int]] = {
    "everything": frozenset(range(len(LINES))),
    "flapping": frozenset({0}),
    "hanging": frozenset({1}),
    "resetting": frozenset({2}),
    "dripping": frozenset({3}),
    "pair": frozenset({4, 5}),
    "short": frozenset({6}),
    "far": frozenset({7}),
}
"""Lines (positions in `LINES`) of each topic."""
SHORT_TOPIC = "short"
"""Topic that is trimmed during a run; every other one keeps all of its events."""
SHORT_SIZE = 1024 * 1024
"""Size of the short topic, bytes."""
STRICT = "strict"
"""Healthy team whose deliveries get no second attempt: a fault that is charged to it makes a dead letter."""
ORDERED = "orderly"
"""Team that gets the events of each chat in their order, across its failures."""
FAR = tuple(f"far-{number}" for number in range(1, 5))
"""Teams whose name server or responses may be silent."""

_RETRY = '["100ms", "300ms", "1s", "2s", "4s", "8s", "8s", "8s", "8s", "8s", "8s", "8s"]'


@dataclass(frozen=True, slots=True)
class Team:
    """Push subscription; its name selects the behaviour of its server (`tests.chaos.behaviours`)."""

    name: str
    topic: str
    retry: str = _RETRY
    options: str = ""
    lines: frozenset[int] | None = None
    """Lines of the topic that it subscribes to; None for all."""
    counts_requests: bool = False
    """True if an event counts with its request, whatever the response is, and repeats do not count."""

    def wants(self, number: int) -> bool:
        """Return True if the team gets the event."""
        line = line_of(number)
        return line in TOPICS[self.topic] and (self.lines is None or line in self.lines)


TEAMS = (
    Team("good", "everything"),
    Team("flapping", "flapping"),
    Team("hanging", "hanging", options='timeout = "2s"'),
    Team("resetting", "resetting"),
    Team("dripping", "dripping", options='timeout = "3s"'),
    Team("erring", "pair"),
    Team(ORDERED, "pair", options='ordered = "chat"', lines=frozenset({ORDERED_LINE})),
    Team("hasty", "pair", retry='["100ms"]', lines=frozenset({5})),
    # Its lane is in the partition of the good team's, so both depend on the same worker.
    Team(STRICT, "short", retry="[]"),
    Team("hostile", "short", options='timeout = "2s"', counts_requests=True),
    *(Team(name, "far", options='timeout = "3s"') for name in FAR),
)

PROMPT = frozenset({"good", "flapping", "erring", "hasty", ORDERED, STRICT})
"""Teams that respond at once, whatever the response is; a worker that ends has few of their requests in flight."""


def topic_wants(topic: str, number: int) -> bool:
    """Return True if the event belongs in the topic."""
    return line_of(number) in TOPICS[topic]


def hosts_of(renamed: int) -> dict[str, str]:
    """Return the hosts of the teams that have a name; those of the far teams after so many changes."""
    return {STRICT: "strict.chaos.test", **{name: f"{name}-{renamed}.chaos.test" for name in FAR}}


def rules(port: int, hosts: Mapping[str, str]) -> str:
    """Return a relay.toml that has every team's server on one port of this machine."""
    topics = (
        f'[[topics]]\nname = "{name}"\nevents = ["*"]\nlines = {_lines(lines)}\n'
        f'size = "{f"{SHORT_SIZE}B" if name == SHORT_TOPIC else "16GiB"}"\nhard_size = "16GiB"\n'
        for name, lines in TOPICS.items()
    )
    return "\n".join((*topics, *(_subscription(team, port, hosts.get(team.name, "127.0.0.1")) for team in TEAMS)))


def _subscription(team: Team, port: int, host: str) -> str:
    narrowed = f"lines = {_lines(team.lines)}\n" if team.lines is not None else ""
    return (
        f'[[subscriptions]]\nname = "{team.name}"\ntopic = "{team.topic}"\n'
        f'url = "http://{host}:{port}/{team.name}"\nsecret = "{secret_of(team.name).text}"\n'
        f"retry = {team.retry}\n{narrowed}{team.options}\n"
    )


def _lines(lines: frozenset[int]) -> str:
    return "[" + ", ".join(f'"{LINES[line]}"' for line in sorted(lines)) + "]"
