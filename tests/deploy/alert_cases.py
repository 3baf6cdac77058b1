"""Cases of the alerts in deploy/monitoring/rules.yaml: for each, series that fire it and that do not.

The series are in the notation of `promtool test rules`: `0x10` is eleven samples of 0, a minute apart, `1+2x10` a
counter that grows by 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Case:
    """An alert, and what is measured in two situations."""

    alert: str
    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the alert, without its severity."""
    shown: str = ""
    """Its value as the annotations show it."""
    minute: int = 30
    """Minute at which the alerts are looked at."""
    variant: str = ""
    """Distinguishes the cases of one alert."""

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.alert + self.variant


def _of(name: str, subscription: str = "crm") -> str:
    return f'relay_subscription_{name}{{subscription="{subscription}",topic="all",instance="a"}}'


_ACCEPTED = 'relay_events_accepted_total{api="v3",instance="a"}'
_UNAVAILABLE = 'relay_requests_refused_total{status="503",code="store",instance="a"}'
_GROUP = '{topic="all",group="billing",instance="a"}'
_CHANGED = 'relay_contract_changed{event_type="message.received",payload_version="2026-02-03",change="%s",instance="a"}'
_DRIFT = 'relay_linq_drift{api="v3",kind="%s",instance="a"}'

CASES = (
    Case(
        "RelayDown",
        fires={
            'relay_build_info{role="worker",version="1",instance="a"}': "1x10 stale",
            'relay_build_info{role="ingress",version="1",instance="b"}': "1x30",
        },
        quiet={  # one of two is gone, the other one is of a new version
            'relay_build_info{role="worker",version="1",instance="a"}': "1x10 stale",
            'relay_build_info{role="worker",version="2",instance="b"}': "1x30",
        },
        labels={"role": "worker"},
    ),
    Case(
        "RelayNothingAccepted",
        fires={_ACCEPTED: f"0+5x{_DAY + 600} {5 * (_DAY + 600)}x60"},
        quiet={_ACCEPTED: "0+5x300 1500x839 1500+5x600 4500x400"},  # quiet at the same time yesterday, too
        minute=_DAY + 650,
    ),
    Case(
        "RelayUnavailableResponses",
        fires={_ACCEPTED: "0+90x30", _UNAVAILABLE: "0+10x30"},
        quiet={_ACCEPTED: "0+90x30", _UNAVAILABLE: "0x20 1x10"},
        shown="10%",
    ),
    Case(
        "RelayQuarantineNotEmpty",
        fires={'relay_quarantine_entries{instance="a"}': "0x10 3x20"},
        quiet={'relay_quarantine_entries{instance="a"}': "3x10 0x20"},
        shown="3",
    ),
    Case(
        "RelayConfigReloadRefused",
        fires={'relay_config_reload_refused{instance="a"}': "0x20 1x10"},
        quiet={'relay_config_reload_refused{instance="a"}': "1x20 0x10"},
        labels={"instance": "a"},
    ),
    Case(
        "RelayRoutingLag",
        fires={'relay_inbox_oldest_age_seconds{instance="a"}': "0x20 90x10"},
        quiet={'relay_inbox_oldest_age_seconds{instance="a"}': "0x20 90 30x9"},
        shown="1m 30s",
    ),
    Case(
        "RelayWorkerNotSweeping",
        fires={'relay_last_sweep_timestamp_seconds{instance="a"}': "0+60x25 1500x10"},
        quiet={'relay_last_sweep_timestamp_seconds{instance="a"}': "0+60x30"},
        shown="5m 0s",
    ),
    Case(
        "RelayTopicNearCap",
        fires={'relay_topic_cap_ratio{topic="all",instance="a"}': "0.85x30"},
        quiet={'relay_topic_cap_ratio{topic="all",instance="a"}': "0.85x20 0.5x10"},
        labels={"topic": "all"},
        shown="85%",
    ),
    Case(
        "RelaySubscriptionLate",
        fires={_of("oldest_waiting_age_seconds"): "0+60x30", _of("paused"): "0x30"},
        quiet={_of("oldest_waiting_age_seconds"): "0+60x30", _of("paused"): "1x30"},
        labels={"subscription": "crm", "topic": "all"},
        shown="30m 0s",
    ),
    Case(
        "RelaySubscriptionSuspended",
        fires={_of("suspended"): "0x20 1x10"},
        quiet={_of("suspended"): "1x20 0x10"},
        labels={"subscription": "crm"},
    ),
    Case(
        "RelayCircuitBreakerOpen",
        fires={_of("circuit_breaker_open"): "0x10 1x20"},
        quiet={_of("circuit_breaker_open"): "1x14 0 1x14"},
        labels={"subscription": "crm"},
    ),
    Case(
        "RelayDeadLetters",
        fires={_of("dead_letters"): "0x20 2x10", _of("dead_letters", "billing"): "0x30"},
        quiet={_of("dead_letters"): "2x28 0x2"},
        labels={"subscription": "crm"},
        shown="2",
    ),
    *(
        Case(
            alert,
            fires={_of(name): value, _of("shadow", "next"): "1x30", _of(name, "next"): value},
            quiet={_of("shadow", "next"): "1x30", _of(name, "next"): value},
            labels={"subscription": "crm"} | topic,
            shown=shown,
            variant=" of a shadow",
        )
        for alert, name, value, shown, topic in (
            ("RelayDeadLetters", "dead_letters", "2x30", "2", {}),
            ("RelayCircuitBreakerOpen", "circuit_breaker_open", "1x30", "", {}),
            ("RelaySubscriptionLate", "oldest_waiting_age_seconds", "1200x30", "20m 0s", {"topic": "all"}),
        )
    ),
    Case(
        "RelayPullGroupNotRead",
        fires={
            f"relay_pull_group_oldest_unread_age_seconds{_GROUP}": "0x60",
            f"relay_pull_group_idle_seconds{_GROUP}": "0+60x60",
            f"relay_pull_group_pending{_GROUP}": "4x60",
        },
        quiet={  # nothing to read and nothing pending, however long
            f"relay_pull_group_oldest_unread_age_seconds{_GROUP}": "0x60",
            f"relay_pull_group_idle_seconds{_GROUP}": "0+60x60",
            f"relay_pull_group_pending{_GROUP}": "0x60",
        },
        labels={"topic": "all", "group": "billing"},
        shown="1h 0m 0s",
        minute=60,
    ),
    Case(
        "RelayPullGroupNotRead",
        variant="-unread",
        fires={f"relay_pull_group_oldest_unread_age_seconds{_GROUP}": "0+60x60"},
        quiet={f"relay_pull_group_oldest_unread_age_seconds{_GROUP}": "0+60x45 0x15"},
        labels={"topic": "all", "group": "billing"},
        shown="1h 0m 0s",
        minute=60,
    ),
    Case(
        "RelayPullGroupDeadLetters",
        fires={f"relay_pull_group_dead_letters{_GROUP}": "0x20 2x10"},
        quiet={f"relay_pull_group_dead_letters{_GROUP}": "2x28 0x2"},
        labels={"topic": "all", "group": "billing"},
        shown="2",
    ),
    Case(
        "RelayLedgerImbalance",
        fires={'relay_ledger_imbalance{subscription="crm",instance="a"}': "-2x30"},
        quiet={'relay_ledger_imbalance{subscription="crm",instance="a"}': "0x28 1x2"},
        labels={"subscription": "crm"},
        shown="2",
    ),
    Case(
        "RelayLedgerImbalance",
        variant="-before-topics",
        fires={'relay_ledger_events_imbalance{instance="a"}': "0x20 3x10"},
        quiet={'relay_ledger_events_imbalance{instance="a"}': "3x20 0x10"},
        shown="3",
    ),
    Case(
        "RelaySubscriberCertificateExpiring",
        fires={
            'relay_subscriber_certificate_expiry_timestamp_seconds{subscription="crm",instance="a"}': "1209600x120",
        },
        quiet={
            'relay_subscriber_certificate_expiry_timestamp_seconds{subscription="crm",instance="a"}': "2592000x120",
        },
        labels={"subscription": "crm"},
        shown="13d 22h 0m 0s",
        minute=120,
    ),
    Case(
        "RelayLineSilent",
        fires={'relay_line_silent{line="+16465550123",instance="a"}': "1x30"},
        quiet={'relay_line_silent{line="+16465550123",instance="a"}': "1x25 0x5"},
        labels={"line": "+16465550123"},
    ),
    Case(
        "RelayLineFlagged",
        fires={
            'relay_line_flagged{line="+16465550123",instance="a"}': "0x10 1x20",
            'relay_line_flagged{line="+16465550124",instance="a"}': "0x30",
        },
        quiet={'relay_line_flagged{line="+16465550123",instance="a"}': "1x26 0x4"},
        labels={"line": "+16465550123"},
    ),
    Case(
        "RelayLineReleased",
        fires={'relay_line_released{account="sales",line="+16465550123",instance="a"}': "0x20 1x10"},
        quiet={'relay_line_released{account="sales",line="+16465550123",instance="a"}': "0x27 1x3"},
        labels={"account": "sales", "line": "+16465550123"},
    ),
    Case(
        "RelayLinqDrift",
        fires={_DRIFT % "missing": "2x30", _DRIFT % "foreign": "1x30"},
        quiet={_DRIFT % "missing": "2x12 0x18", _DRIFT % "foreign": "1x30", _DRIFT % "silent": "1x30"},
        labels={"api": "v3", "kind": "missing"},
        shown="2",
    ),
    Case(
        "RelayMessagesMissing",
        fires={'relay_gap_messages_missing{account="sales",instance="a"}': "0x20 3x70"},
        quiet={'relay_gap_messages_missing{account="sales",instance="a"}': "0x40 3x50"},
        labels={"account": "sales"},
        shown="3",
        minute=90,
    ),
    Case(
        "RelayOutageNotBackfilled",
        fires={'relay_outage_not_backfilled_timestamp_seconds{instance="a"}': "-9000x30"},
        quiet={'relay_outage_not_backfilled_timestamp_seconds{instance="a"}': "-5000x30"},
        shown="3h 0m 0s",
    ),
    Case(
        "RelayOutageNotBackfilled",
        fires={'relay_outage_not_backfilled_timestamp_seconds{instance="a"}': "-200000x30"},
        quiet={'relay_outage_not_backfilled_timestamp_seconds{instance="a"}': "-300000x30"},  # it is given up
        shown="2d 8h 3m 20s",
        variant="-old",
    ),
    Case(
        "RelayContractChanged",
        fires={_CHANGED % "lost_chat": "0x20 1x10"},
        quiet={_CHANGED % "lost_chat": "1x10 0x20"},
        labels={"event_type": "message.received", "payload_version": "2026-02-03", "change": "lost_chat"},
    ),
    Case(
        "RelayRedisDown",
        fires={'relay_redis_up{instance="a"}': "1x20 0x10"},
        quiet={'relay_redis_up{instance="a"}': "0x30", 'relay_redis_up{instance="b"}': "1x30"},
    ),
    Case(
        "RelayRedisMemoryHigh",
        fires={
            'relay_redis_memory_used_bytes{instance="a"}': "850x30",
            'relay_redis_memory_max_bytes{instance="a"}': "1000x30",
        },
        quiet={  # without a limit
            'relay_redis_memory_used_bytes{instance="a"}': "850x30",
            'relay_redis_memory_max_bytes{instance="a"}': "0x30",
        },
        shown="85%",
    ),
    Case(
        "RelayRedisPersistenceFailing",
        fires={'relay_redis_persistence_healthy{instance="a"}': "1x20 0x10"},
        quiet={'relay_redis_persistence_healthy{instance="a"}': "0x28 1x2"},
    ),
)


def promtool_tests(
    rules: Mapping[str, Mapping[str, Any]], rules_file: str, groups: Sequence[str], *, is_long: bool
) -> dict[str, Any]:
    """Return the file of tests for `promtool test rules`; `rules` has each alert by name, `groups` those of the alerts.

    All cases share one test, each with a namespace of its own: a test costs promtool a second. Those that last longer
    than a day need a file of their own (`is_long`), evaluated less often.
    """
    cases = [case for case in CASES if (case.minute > _DAY) == is_long]
    series: dict[str, str] = {}
    for case in cases:
        for measured, namespace in ((case.fires, "fires"), (case.quiet, "quiet")):
            series |= {_in_namespace(name, f"{case.name}-{namespace}"): text for name, text in measured.items()}
    looks = [
        {
            "eval_time": f"{minute}m",
            "alertname": alert,
            "exp_alerts": [_expected(rules[alert], case) for case in cases if case.alert == alert],
        }
        for alert, minute in dict.fromkeys((case.alert, case.minute) for case in cases)
    ]
    rows = [{"series": name, "values": values} for name, values in series.items()]
    return {
        "rule_files": [rules_file],
        "evaluation_interval": "10m" if is_long else "1m",
        "group_eval_order": ["relay.rates", *groups],  # else promtool's order is random, and others read old rates
        "tests": [{"interval": "1m", "input_series": rows, "alert_rule_test": looks}],
    }


def _in_namespace(series: str, namespace: str) -> str:
    return series.replace("{", f'{{namespace="{namespace}",')


def _expected(rule: Mapping[str, Any], case: Case) -> dict[str, Any]:
    labels = {"namespace": f"{case.name}-fires", **case.labels, **rule["labels"]}
    return {
        "exp_labels": labels,
        "exp_annotations": {name: _rendered(text, case) for name, text in rule["annotations"].items()},
    }


def _rendered(text: str, case: Case) -> str:
    """Fill in the placeholders of an annotation as Prometheus does."""
    for name, value in case.labels.items():
        text = text.replace(f"{{{{ $labels.{name} }}}}", value)
    text = text.replace('{{ or $labels.subscription "all" }}', case.labels.get("subscription", "all"))
    for form in ("", " | humanizePercentage", " | humanizeDuration"):
        text = text.replace(f"{{{{ $value{form} }}}}", case.shown)
    return text
