"""The conditions of `[alerts]`: which problems there are now. Pure.

They are those of deploy/monitoring/rules.yaml, on the same metrics; the limits come from `core.config.alerts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from relay.alerts.samples import DAY, HOUR, MINUTE
from relay.contracts.learning import LOST
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from relay.alerts.samples import Facts
    from relay.core.config.alerts import AboveAge, AboveCount, AboveShare, Alerts, ConditionName, Quiet, Within

    Find = Callable[[Facts, Any], Iterator["Found"]]

Severity = Literal["critical", "warning"]

_QUIET_YESTERDAY = 5  # events in half an hour: fewer are no traffic that could be missed today
_HARMLESS_DRIFT = {"silent", "malformed", "foreign"}
"""Kinds of drift that the relay cannot repair, or that have a condition of their own."""


class Found(NamedTuple):
    """A problem that there is now."""

    labels: Mapping[str, str]
    """Subject of it, such as `{"subscription": "crm"}`; empty for the relay as a whole."""
    value: float
    text: str
    """A sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A kind of problem."""

    name: ConditionName
    severity: Severity
    find: Find
    """Finds the problems of this kind; the second argument is the condition's table in `[alerts]`."""

    @property
    def section(self) -> str:
        """Name of its section in the runbook, and of the same alert in rules.yaml."""
        return _SECTIONS.get(self.name) or "Relay" + "".join(map(str.capitalize, self.name.split("_")))


class Problem(NamedTuple):
    """A problem that there is now, with its condition and the time for which it must last."""

    condition: Condition
    found: Found
    lasting: float
    """Seconds."""

    @property
    def key(self) -> str:
        """Name that distinguishes it from every other problem."""
        return "|".join((self.condition.name, *self.found.labels.values()))


def problems(facts: Facts, alerts: Alerts) -> Iterator[Problem]:
    """Yield every problem that there is now; nothing about a shadow is one."""
    shadows = {sample.labels["subscription"] for sample in facts.of("relay_subscription_shadow")}
    for condition in CONDITIONS:
        if condition.name not in alerts.off:
            limit = getattr(alerts, condition.name)
            for found in condition.find(facts, limit):
                if found.labels.get("subscription") not in shadows:
                    yield Problem(condition, found, limit.for_)


def _above(metric: str, text: str, *, shown: Callable[[float], str] = "{:.0f}".format) -> Find:
    """Return the search for samples above the limit; `text` may have their labels and `{value}`."""

    def find(facts: Facts, limit: AboveAge | AboveShare) -> Iterator[Found]:
        for sample in facts.of(metric):
            if sample.value > limit.above:
                words = text.format(**sample.labels, value=shown(sample.value))
                yield Found(sample.labels, sample.value, words)

    return find


def _equal(metric: str, value: float, text: str) -> Find:
    """Return the search for samples of one value."""

    def find(facts: Facts, _: object) -> Iterator[Found]:
        for sample in facts.of(metric):
            if sample.value == value:
                yield Found(sample.labels, sample.value, text.format(**sample.labels))

    return find


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _nothing_accepted(facts: Facts, limit: Quiet) -> Iterator[Found]:
    accepted, minute_ago = facts.counts.accepted, facts.earlier.get(MINUTE)
    before = facts.earlier.get(6 * HOUR) or facts.oldest
    if minute_ago is None or before is None or accepted != minute_ago.accepted:
        return
    end, start = facts.earlier.get(DAY), facts.earlier.get(DAY + 30 * MINUTE)
    was_quiet = end is not None and start is not None and end.accepted - start.accepted < _QUIET_YESTERDAY
    if accepted - before.accepted > limit.busy and not was_quiet:
        yield Found({}, 0, "no event is accepted, although lines were active in the last six hours")


def _unavailable_responses(facts: Facts, limit: AboveShare) -> Iterator[Found]:
    before = facts.earlier.get(5 * MINUTE)
    if before is None or facts.counts.received <= before.received:
        return
    share = (facts.counts.unavailable - before.unavailable) / (facts.counts.received - before.received)
    if share > limit.above:
        yield Found({}, share, f"{_percent(share)} of the webhooks of the last five minutes got the response 503")


def _worker_not_sweeping(facts: Facts, limit: AboveAge) -> Iterator[Found]:
    last = facts.value("relay_last_sweep_timestamp_seconds")
    if last is not None and facts.now - last > limit.above:
        age = facts.now - last
        yield Found({}, age, f"no worker has finished a sweep for {format_duration(age)}")


def _subscription_late(facts: Facts, limit: AboveAge) -> Iterator[Found]:
    paused = {sample.labels["subscription"] for sample in facts.of("relay_subscription_paused") if sample.value}
    late = _above(
        "relay_subscription_oldest_waiting_age_seconds",
        "an event of the topic {topic} has waited for {value} for the subscription {subscription}",
        shown=format_duration,
    )
    return (found for found in late(facts, limit) if found.labels["subscription"] not in paused)


def _pull_group_not_read(facts: Facts, limit: AboveAge) -> Iterator[Found]:
    def by_group(metric: str) -> dict[tuple[str, str], float]:
        return {(sample.labels["topic"], sample.labels["group"]): sample.value for sample in facts.of(metric)}

    idle, pending = by_group("relay_pull_group_idle_seconds"), by_group("relay_pull_group_pending")
    for group, age in by_group("relay_pull_group_oldest_unread_age_seconds").items():
        behind = max(age, idle.get(group, 0.0) if pending.get(group) else 0.0)
        if behind > limit.above:
            topic, name = group
            text = f"the group {name} of the topic {topic} has been behind for {format_duration(behind)}"
            yield Found({"topic": topic, "group": name}, behind, text)


def _ledger_imbalance(facts: Facts, _: object) -> Iterator[Found]:
    for sample in (*facts.of("relay_ledger_imbalance"), *facts.of("relay_ledger_events_imbalance")):
        if number := abs(sample.value):
            owner = (
                f"of the subscription {sample.labels['subscription']}" if sample.labels else "before they reach a topic"
            )
            yield Found(sample.labels, number, f"the ledger does not account for {number:.0f} events {owner}")


def _linq_drift(facts: Facts, limit: AboveAge) -> Iterator[Found]:
    drift = _above("relay_linq_drift", "subscriptions at Linq ({api}) that are {kind}: {value}")
    return (found for found in drift(facts, limit) if found.labels["kind"] not in _HARMLESS_DRIFT)


def _messages_missing(facts: Facts, limit: AboveCount) -> Iterator[Found]:
    for sample in facts.of("relay_gap_messages_missing"):
        if sample.value > limit.above:
            of = f" of the account {sample.labels['account']}" if sample.labels.get("account") else ""
            yield Found(sample.labels, sample.value, f"{sample.value:.0f} messages{of} at Linq never arrived")


def _outage_not_backfilled(facts: Facts, limit: AboveAge) -> Iterator[Found]:
    ended = facts.value("relay_outage_not_backfilled_timestamp_seconds")
    if ended is not None and limit.above < facts.now - ended < 3 * DAY:
        age = facts.now - ended
        yield Found(
            {}, age, f"the messages that an outage lost are not backfilled, {format_duration(age)} after its end"
        )


def _contract_changed(facts: Facts, _: object) -> Iterator[Found]:
    for sample in facts.of("relay_contract_changed"):
        if not sample.value:
            continue
        event_type, version, change = (sample.labels[name] for name in ("event_type", "payload_version", "change"))
        text = (
            f"events of {event_type} ({version}) have no {change.removeprefix(LOST)} any more"
            if change.startswith(LOST)
            else f"{event_type} ({version}) is a {change.replace('_', ' ')} of Linq's"
        )
        yield Found(sample.labels, sample.value, text)


def _certificate_expiring(facts: Facts, limit: Within) -> Iterator[Found]:
    for sample in facts.of("relay_subscriber_certificate_expiry_timestamp_seconds"):
        left = sample.value - facts.now
        if left < limit.within:
            name = sample.labels["subscription"]
            when = f"ends in {format_duration(left)}" if left > 0 else "has ended"
            yield Found(sample.labels, left, f"the certificate of the subscription {name} {when}")


def _redis_memory_high(facts: Facts, limit: AboveShare) -> Iterator[Found]:
    used, most = facts.value("relay_redis_memory_used_bytes"), facts.value("relay_redis_memory_max_bytes")
    if used and most and used / most > limit.above:
        yield Found({}, used / most, f"Redis uses {_percent(used / most)} of its memory (maxmemory)")


_SECTIONS: Mapping[str, str] = {"certificate_expiring": "RelaySubscriberCertificateExpiring"}

CONDITIONS: tuple[Condition, ...] = (
    Condition("nothing_accepted", "critical", _nothing_accepted),
    Condition("unavailable_responses", "critical", _unavailable_responses),
    Condition(
        "routing_lag",
        "critical",
        _above(
            "relay_inbox_oldest_age_seconds",
            "the oldest event in the inbox has waited for {value}",
            shown=format_duration,
        ),
    ),
    Condition("worker_not_sweeping", "critical", _worker_not_sweeping),
    Condition(
        "topic_near_cap",
        "warning",
        _above("relay_topic_cap_ratio", "the topic {topic} has reached {value} of its hard cap", shown=_percent),
    ),
    Condition("subscription_late", "warning", _subscription_late),
    Condition(
        "subscription_suspended",
        "warning",
        _equal(
            "relay_subscription_suspended",
            1,
            "nothing is delivered to the subscription {subscription}, since a key of it was overwritten",
        ),
    ),
    Condition(
        "circuit_breaker_open",
        "warning",
        _equal(
            "relay_subscription_circuit_breaker_open",
            1,
            "the circuit breaker of the subscription {subscription} is open",
        ),
    ),
    Condition(
        "dead_letters",
        "warning",
        _above("relay_subscription_dead_letters", "dead letters of the subscription {subscription}: {value}"),
    ),
    Condition("pull_group_not_read", "warning", _pull_group_not_read),
    Condition(
        "pull_group_dead_letters",
        "warning",
        _above("relay_pull_group_dead_letters", "dead letters of the group {group} of the topic {topic}: {value}"),
    ),
    Condition("ledger_imbalance", "critical", _ledger_imbalance),
    Condition("certificate_expiring", "warning", _certificate_expiring),
    Condition(
        "line_silent",
        "warning",
        _equal("relay_line_silent", 1, "the line {line} had no event for longer than is usual for it"),
    ),
    Condition(
        "line_flagged",
        "warning",
        _equal("relay_line_flagged", 1, "Linq has flagged the line {line}, or calls its reputation critical"),
    ),
    Condition(
        "line_released", "warning", _equal("relay_line_released", 1, "Linq took the line {line} from the account")
    ),
    Condition("linq_drift", "warning", _linq_drift),
    Condition("messages_missing", "warning", _messages_missing),
    Condition("outage_not_backfilled", "warning", _outage_not_backfilled),
    Condition("contract_changed", "warning", _contract_changed),
    Condition(
        "quarantine_not_empty", "warning", _above("relay_quarantine_entries", "webhooks in the quarantine: {value}")
    ),
    Condition("redis_memory_high", "warning", _redis_memory_high),
    Condition(
        "redis_persistence_failing",
        "critical",
        _equal("relay_redis_persistence_healthy", 0, "Redis does not write its append-only file"),
    ),
)
