"""The board of deploy/monitoring: `python -m tests.deploy.dashboard` writes dashboard.json.

A row for each stage of an event's way. Queries add up what processes count and take the largest of what is read from
Redis, as the rules do; they are limited to the namespaces that the viewer chose, which is every one without Kubernetes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, VariableRefresh, VariableSort

from tests.deploy.panels import HERE, SOURCE, largest, lines_of, number, quantile_of, rate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.deploy.panels import Panel

    Row = tuple[str, Sequence[Panel]]

FILE = Path(__file__).parents[2] / "deploy/monitoring/dashboard.json"
_SUBSCRIPTION = f'{HERE},subscription=~"$subscription"'
_TOPIC = f'{HERE},topic=~"$topic"'


def board() -> dashboard.Dashboard:
    """Return the board."""
    built = (
        dashboard.Dashboard("linq-relay")
        .uid("linq-relay")
        .tags(["linq-relay"])
        .description("Made by tests/deploy/dashboard.py of linq-relay")
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("namespace", "Namespace", "relay_build_info"))
        .with_variable(_variable("topic", "Topic", f"relay_topic_entries{{{HERE}}}"))
        .with_variable(_variable("subscription", "Subscription", f"relay_subscription_waiting{{{HERE}}}"))
    )
    for title, panels in _rows():
        built = built.with_row(dashboard.Row(title))
        for panel in panels:
            built = built.with_panel(panel.datasource(SOURCE))
    return built


def text() -> str:
    """Return the content of dashboard.json."""
    return JSONEncoder(sort_keys=True, indent=2).encode(board().build()) + "\n"


def _variable(name: str, label: str, series: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({series}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .include_all(True)  # noqa: FBT003  the library's signature
        .all_value(".*")
        .multi(True)  # noqa: FBT003
    )


def _rows() -> Sequence[Row]:
    return (
        ("Overview", _overview()),
        ("Accepting", _accepting()),
        ("Routing", _routing()),
        ("Topics", _topics()),
        ("Push subscriptions", _subscriptions()),
        ("Pull groups", _pull_groups()),
        ("Linq lines", _lines()),
        ("Redis", _redis()),
    )


def _overview() -> Sequence[Panel]:
    lag, waiting = "relay_inbox_oldest_age_seconds", "relay_subscription_oldest_waiting_age_seconds"
    return (
        number("Firing alerts", 'count(ALERTS{alertname=~"Relay.*",alertstate="firing"}) or vector(0)', (1, 5)),
        number("Accepted", rate_of("relay_events_accepted_total"), unit="reqps"),
        number(
            "Responses 503",
            f"max(namespace:relay_requests_unavailable:ratio_rate5m{{{HERE}}})",
            (0.001, 0.01),
            "percentunit",
        ),
        number("Routing lag", f"max({lag}{{{HERE}}})", (10, 60), "s"),
        number("Oldest waiting delivery", f"max({waiting}{{{HERE}}})", (60, 900), "s"),
        number(
            "Dead letters",
            f"sum({largest('relay_subscription_dead_letters', HERE, 'namespace', 'subscription')})",
            (1, 100),
        ),
        number("In quarantine", f"sum({largest('relay_quarantine_entries', HERE, 'namespace')})", (1, 100)),
        number(
            "Unaccounted events",
            f"sum(abs({largest('relay_ledger_imbalance', HERE, 'namespace', 'subscription')})) "
            f"+ sum(abs({largest('relay_ledger_events_imbalance', HERE, 'namespace')}))",
            (1, 1),
        ),
    )


def _accepting() -> Sequence[Panel]:
    return (
        lines_of(
            "Webhooks by result",
            (f"sum by (result) (namespace_result:relay_requests:rate5m{{{HERE}}})", "{{result}}"),
            unit="reqps",
            stacked=True,
        ),
        lines_of(
            "Time to accept",
            *((quantile_of(q, "relay_accept_duration_seconds", HERE), f"p{round(q * 100)}") for q in (0.5, 0.95, 0.99)),
            unit="s",
        ),
        lines_of(
            "Refused requests",
            (rate_of("relay_requests_refused_total", HERE, "status", "code"), "{{status}} {{code}}"),
            unit="reqps",
        ),
        lines_of("Open connections", (f"sum by (instance) (relay_connections{{{HERE}}})", "{{instance}}")),
        lines_of("Ready", (f"min by (instance) (relay_ready{{{HERE}}})", "{{instance}}"), unit="bool_yes_no"),
        lines_of(
            "Refuses a changed relay.toml",
            (f"max by (instance) (relay_config_reload_refused{{{HERE}}})", "{{instance}}"),
            unit="bool_yes_no",
        ),
    )


def _routing() -> Sequence[Panel]:
    sweep = f"time() - {largest('relay_last_sweep_timestamp_seconds', HERE)}"
    return (
        lines_of(
            "Events routed",
            (rate_of("relay_events_routed_total"), "routed"),
            (rate_of("relay_events_unmatched_total"), "matched no topic"),
            (rate_of("relay_topic_where_failed_total"), "no result of where"),
            unit="eps",
        ),
        lines_of(
            "Age of the oldest in the inbox, time since the last sweep",
            (largest("relay_inbox_oldest_age_seconds", HERE), "oldest event"),
            (sweep, "last sweep"),
            unit="s",
        ),
        lines_of("Inbox", (largest("relay_inbox_events", HERE), "events")),
        lines_of(
            "Warnings and errors in the logs",
            (rate_of("relay_log_events_total", HERE, "level"), "{{level}}"),
            unit="eps",
        ),
    )


def _topics() -> Sequence[Panel]:
    rate = f"max by (topic) (rate(relay_topic_events_total{{{_TOPIC}}}[$__rate_interval]))"
    return (
        lines_of("Events into each topic", (rate, "{{topic}}"), unit="eps"),
        lines_of("Kept events", (largest("relay_topic_entries", _TOPIC, "topic"), "{{topic}}")),
        lines_of(
            "Share of the hard cap",
            (largest("relay_topic_cap_ratio", _TOPIC, "topic"), "{{topic}}"),
            unit="percentunit",
        ),
        lines_of("Memory in Redis", (largest("relay_topic_bytes", _TOPIC, "topic"), "{{topic}}"), unit="bytes"),
        lines_of(
            "Age of the oldest kept event",
            (largest("relay_topic_oldest_age_seconds", _TOPIC, "topic"), "{{topic}}"),
            unit="s",
        ),
    )


def _subscriptions() -> Sequence[Panel]:
    def of_each(title: str, name: str, unit: str = "short") -> Panel:
        return lines_of(
            title, (largest(f"relay_subscription_{name}", _SUBSCRIPTION, "subscription"), "{{subscription}}"), unit=unit
        )

    expiry = "relay_subscriber_certificate_expiry_timestamp_seconds"
    return (
        lines_of(
            "Attempts by outcome",
            (rate_of("relay_delivery_attempts_total", _SUBSCRIPTION, "outcome"), "{{outcome}}"),
            unit="reqps",
            stacked=True,
        ),
        lines_of(
            "Attempts that failed",
            (
                rate_of("relay_delivery_attempts_total", f'{_SUBSCRIPTION},outcome!="delivered"', "subscription"),
                "{{subscription}}",
            ),
            unit="reqps",
        ),
        lines_of(
            "Duration of attempts, p95",
            (
                quantile_of(0.95, "relay_delivery_attempt_duration_seconds", _SUBSCRIPTION, "subscription"),
                "{{subscription}}",
            ),
            unit="s",
        ),
        lines_of(
            "Deliveries in flight",
            (f"sum by (subscription) (relay_deliveries_in_flight{{{_SUBSCRIPTION}}})", "{{subscription}}"),
        ),
        of_each("Waiting", "waiting"),
        of_each("Age of the oldest waiting", "oldest_waiting_age_seconds", "s"),
        of_each("Retrying", "retrying"),
        of_each("Dead letters", "dead_letters"),
        of_each("Circuit breaker open", "circuit_breaker_open", "bool_yes_no"),
        of_each("Paused", "paused", "bool_yes_no"),
        of_each("Suspended: a key was overwritten", "suspended", "bool_yes_no"),
        lines_of(
            "Time until the certificate ends",
            (f"min by (subscription) ({expiry}{{{_SUBSCRIPTION}}}) - time()", "{{subscription}}"),
            unit="s",
        ),
    )


def _pull_groups() -> Sequence[Panel]:
    def of_each(title: str, name: str, unit: str = "short") -> Panel:
        return lines_of(
            title, (largest(f"relay_pull_group_{name}", _TOPIC, "topic", "group"), "{{topic}} {{group}}"), unit=unit
        )

    return (
        of_each("Unread events", "lag"),
        of_each("Age of the oldest unread", "oldest_unread_age_seconds", "s"),
        of_each("Read, not acknowledged", "pending"),
        of_each("Time since a consumer asked", "idle_seconds", "s"),
        of_each("Dead letters", "dead_letters"),
    )


def _lines() -> Sequence[Panel]:
    last = f"time() - {largest('relay_line_last_event_timestamp_seconds', HERE, 'line')}"
    return (
        lines_of("Time since the last event", (last, "{{line}}"), unit="s"),
        lines_of("Opt-outs", (largest("relay_line_opt_outs", HERE, "line"), "{{line}}")),
        lines_of(
            "Time since the last message",
            (f"time() - {largest('relay_line_last_inbound_timestamp_seconds', HERE, 'line')}", "{{line}} inbound"),
            (f"time() - {largest('relay_line_last_outbound_timestamp_seconds', HERE, 'line')}", "{{line}} outbound"),
            unit="s",
        ),
        lines_of(
            "Events of 24 hours",
            (largest("relay_line_events_last_day", HERE, "line"), "{{line}}"),
            (largest("relay_line_events_usual_day", HERE, "line"), "{{line}} usually"),
        ),
        lines_of(
            "Lines with a problem",
            *(
                (f"sum({largest(f'relay_line_{problem}', HERE, 'namespace', 'line')})", problem)
                for problem in ("silent", "flagged", "released")
            ),
        ),
        lines_of(
            "Messages that never came, and put back",
            (largest("relay_gap_messages_missing", HERE, "account"), "missing {{account}}"),
            (largest("relay_backfilled_events_total", HERE), "put back so far"),
        ),
        lines_of(
            "Runs of relay gaps and relay backfill",
            (largest("relay_gap_runs_total", HERE, "run", "end"), "{{run}} {{end}}"),
            (largest("relay_gap_last_run_failed", HERE, "run", "account"), "{{run}} {{account}} failed now"),
        ),
        lines_of(
            "Time since the last run, since an outage that is not backfilled",
            (
                f"time() - {largest('relay_gap_last_run_timestamp_seconds', HERE, 'run', 'account')}",
                "{{run}} {{account}}",
            ),
            (f"time() - {largest('relay_outage_not_backfilled_timestamp_seconds', HERE)}", "outage"),
            unit="s",
        ),
        lines_of("Differences at Linq", (largest("relay_linq_drift", HERE, "api", "kind"), "{{api}} {{kind}}")),
        lines_of(
            "Time since the last check at Linq",
            (f"time() - {largest('relay_linq_last_check_timestamp_seconds', HERE, 'api')}", "{{api}}"),
            unit="s",
        ),
    )


def _redis() -> Sequence[Panel]:
    return (
        lines_of(
            "Redis answers, writes its append-only file",
            (largest("relay_redis_up", HERE), "answers"),
            (largest("relay_redis_persistence_healthy", HERE), "append-only file"),
            (largest("relay_redis_read_complete", HERE), "everything was read in time"),
            unit="bool_yes_no",
        ),
        lines_of(
            "Memory",
            (largest("relay_redis_memory_used_bytes", HERE), "used"),
            (f"{largest('relay_redis_memory_max_bytes', HERE)} > 0", "maxmemory"),
            unit="bytes",
        ),
        lines_of(
            "Round trip", (f"max by (instance) (relay_redis_round_trip_seconds{{{HERE}}})", "{{instance}}"), unit="s"
        ),
        lines_of("Connected replicas", (largest("relay_redis_connected_replicas", HERE), "replicas")),
    )


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
