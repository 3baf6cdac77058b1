"""Topics, push subscriptions, the behaviour of their servers, and the relay.toml for them.

Only the good team gets every event. The others, which misbehave in one way each, have a line or two, so that a run
tests their effect on the relay and not how many requests this machine can serve.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.events import LINES, line_of, secret_of

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
}
"""Lines (positions in `LINES`) of each topic."""

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
    Team("hasty", "pair", retry='["100ms"]', lines=frozenset({5})),
)


def topic_wants(topic: str, number: int) -> bool:
    """Return True if the event belongs in the topic."""
    return line_of(number) in TOPICS[topic]


def rules(port: int) -> str:
    """Return a relay.toml that has every team's server on one port of this machine."""
    topics = (
        f'[[topics]]\nname = "{name}"\nevents = ["*"]\nlines = {_lines(lines)}\nsize = "16GiB"\nhard_size = "16GiB"\n'
        for name, lines in TOPICS.items()
    )
    return "\n".join((*topics, *(_subscription(team, port) for team in TEAMS)))


def _subscription(team: Team, port: int) -> str:
    narrowed = f"lines = {_lines(team.lines)}\n" if team.lines is not None else ""
    return (
        f'[[subscriptions]]\nname = "{team.name}"\ntopic = "{team.topic}"\n'
        f'url = "http://127.0.0.1:{port}/{team.name}"\nsecret = "{secret_of(team.name).text}"\n'
        f"retry = {team.retry}\n{narrowed}{team.options}\n"
    )


def _lines(lines: frozenset[int]) -> str:
    return "[" + ", ".join(f'"{LINES[line]}"' for line in sorted(lines)) + "]"
