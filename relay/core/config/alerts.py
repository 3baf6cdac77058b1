"""`[alerts]` in relay.toml: webhooks about what needs a person, for companies without Prometheus.

Each condition has a limit and a time for which it must hold (`for`); what a table leaves out keeps its default. The
conditions are those of deploy/monitoring/rules.yaml; `relay.alerts.conditions` evaluates them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from relay.core.config.endpoint import EndpointTable, Secrets
from relay.core.config.fields import Duration, Table, checked_url
from relay.core.secret import SecretReference

ConditionName = Literal[
    "nothing_accepted",
    "unavailable_responses",
    "routing_lag",
    "worker_not_sweeping",
    "topic_near_cap",
    "subscription_late",
    "subscription_suspended",
    "circuit_breaker_open",
    "dead_letters",
    "pull_group_not_read",
    "pull_group_dead_letters",
    "ledger_imbalance",
    "certificate_expiring",
    "line_silent",
    "line_flagged",
    "line_released",
    "linq_drift",
    "messages_missing",
    "outage_not_backfilled",
    "contract_changed",
    "quarantine_not_empty",
    "redis_memory_high",
    "redis_persistence_failing",
]


def _url_or_reference(text: str) -> str:
    if text.startswith(("env:", "file:")):
        SecretReference.of_value(text)
        return text
    return checked_url(text)


UrlOrReference = Annotated[str, AfterValidator(_url_or_reference)]
Share = Annotated[float, Field(ge=0, lt=1, strict=True)]


class Lasting(Table):
    """A condition without a limit: it only has to hold for a time."""

    for_: Duration = Field(0.0, alias="for")
    """Time for which the condition must hold, such as `"5m"`."""


class AboveAge(Lasting):
    """A condition that an age is above a limit."""

    above: Duration = 0.0
    """The limit, such as `"15m"`."""


class AboveCount(Lasting):
    """A condition that a number is above a limit."""

    above: Annotated[int, Field(ge=0, strict=True)] = 0
    """The limit, such as `0`."""


class AboveShare(Lasting):
    """A condition that a share is above a limit."""

    above: Share = 0.0
    """The limit, such as `0.8`."""


class Within(Lasting):
    """A condition that a time is near."""

    within: Duration = 0.0
    """The time that is left, such as `"14d"`."""


class Quiet(Lasting):
    """A condition that nothing happens although it usually does."""

    busy: Annotated[int, Field(ge=1, strict=True)] = 1
    """Number of events in the six hours before, above which silence is unusual, such as `120`."""


def _age(above: str, lasting: str) -> Any:
    return AboveAge.model_validate({"above": above, "for": lasting})


def _count(above: int, lasting: str) -> Any:
    return AboveCount.model_validate({"above": above, "for": lasting})


def _share(above: float, lasting: str) -> Any:
    return AboveShare.model_validate({"above": above, "for": lasting})


def _lasting(lasting: str) -> Any:
    return Lasting.model_validate({"for": lasting})


class Alerts(EndpointTable):
    """The `[alerts]` table: where webhooks about problems go, and when."""

    url: UrlOrReference
    """URL to which the webhooks are POSTed, http or https, or a reference to it, such as `"env:SLACK_URL"`: Slack's is
    a secret.
    """
    secret: Secrets = ()
    """Signing secret, as of a subscription. Absent: the webhooks are not signed, as for Slack."""
    runbook: str = "https://docs.example.com/linq-relay/runbook.md"
    """URL of your copy of the runbook, for the links in the webhooks."""
    off: tuple[ConditionName, ...] = ()
    """Conditions that are not checked, such as `["line_silent"]`."""
    nothing_accepted: Quiet = Quiet.model_validate({"busy": 120, "for": "30m"})
    """No event is accepted, although more than `busy` were in the last six hours, and some at this time yesterday."""
    unavailable_responses: AboveShare = _share(0.01, "5m")
    """Share of the webhooks in the last five minutes that got the response 503."""
    routing_lag: AboveAge = _age("1m", "2m")
    """Age of the oldest event in the inbox: accepted, but not routed."""
    worker_not_sweeping: AboveAge = _age("2m", "1m")
    """Time since a worker last finished a sweep; due every five seconds."""
    topic_near_cap: AboveShare = _share(0.8, "10m")
    """Size of a topic, as a share of its `hard_size`."""
    subscription_late: AboveAge = _age("15m", "5m")
    """Age of the oldest waiting event of a push subscription that is not paused."""
    subscription_suspended: Lasting = _lasting("2m")
    """Nothing is delivered to a subscription, since another client has overwritten a key of it."""
    circuit_breaker_open: Lasting = _lasting("15m")
    """The circuit breaker of a subscription is open."""
    dead_letters: AboveCount = _count(0, "5m")
    """Dead letters of a subscription that no operator has replayed or dropped."""
    pull_group_not_read: AboveAge = _age("30m", "10m")
    """Age of the oldest event that a pull group has not read, or time since it last asked while events are pending."""
    pull_group_dead_letters: AboveCount = _count(0, "5m")
    """Dead letters of a pull group that were neither replayed nor dropped."""
    ledger_imbalance: Lasting = _lasting("5m")
    """The ledger of a subscription does not balance."""
    certificate_expiring: Within = Within.model_validate({"within": "14d", "for": "1h"})
    """The certificate of a subscriber ends soon."""
    line_silent: Lasting = _lasting("10m")
    """A line had no event for longer than is usual for it at these hours; a new one for `silent_after` of `[linq]`."""
    line_flagged: Lasting = _lasting("5m")
    """Linq has flagged a line, or calls its reputation critical."""
    line_released: Lasting = _lasting("5m")
    """Linq took a line from the account: for a day, and for as long as relay.toml or a secret still has it."""
    linq_drift: AboveCount = _count(0, "15m")
    """Differences at Linq that the check finds again and again (missing, changed, inactive, extra)."""
    messages_missing: AboveCount = _count(0, "1h")
    """Messages that the last `relay gaps` or backfill found missing, and that were not put back."""
    outage_not_backfilled: AboveAge = _age("2h", "5m")
    """Time since the end of an outage of which messages may be missing, for three days."""
    contract_changed: Lasting = _lasting("1m")
    """An event type yields a fact no more, or is new, or has a new payload version."""
    quarantine_not_empty: AboveCount = _count(0, "5m")
    """Webhooks in the quarantine."""
    redis_memory_high: AboveShare = _share(0.8, "5m")
    """Used share of `maxmemory`."""
    redis_persistence_failing: Lasting = _lasting("2m")
    """The append-only file of Redis is off, or cannot be written."""

    @field_validator("*", mode="after")
    @classmethod
    def _rest_from_default(cls, value: Any, info: ValidationInfo) -> Any:
        """Fill in what a condition's table leaves out."""
        if not isinstance(value, Lasting):
            return value
        default: Lasting = cls.model_fields[str(info.field_name)].default
        return default.model_copy(update={name: getattr(value, name) for name in value.model_fields_set})
