"""Every metric of the relay: its name, labels and meaning, declared here and nowhere else. metrics.md is made from it.

Names and labels are a public contract, like the columns of a command's JSON: alerts and dashboards are built on them.
No label holds an event, a chat or a customer's number; what bounds the values of each label is in `labels`.
"""

from __future__ import annotations

from relay.metrics.metric import Kind, Metric, Source

_SUBSCRIPTION = ("subscription", "topic")
_GROUP = ("topic", "group")
_RUN = ("run", "account")
_LINE = ("line", "account")
"""`account` only for a line of `[[linq.accounts]]`."""

# --- Every role -----------------------------------------------------------------------------------

BUILD_INFO = Metric(
    "relay_build_info",
    Source.EVERY,
    "1, with the release and the role of the process as labels",
    ("version", "revision", "role"),
    combine="livemax",
)
CONFIG_RELOAD_REFUSED = Metric(
    "relay_config_reload_refused",
    Source.WORKER,
    "1 if the last change of relay.toml was refused, so that the former rules are in force",
    combine="livemax",
)
READY = Metric("relay_ready", Source.EVERY, "1 if /ready responds 200", combine="livemin")
LOG_EVENTS = Metric(
    "relay_log_events_total", Source.EVERY, "Warnings and errors that were logged", ("level",), Kind.COUNTER
)

# --- Ingress --------------------------------------------------------------------------------------

EVENTS_ACCEPTED = Metric(
    "relay_events_accepted_total",
    Source.INGRESS,
    "New events that are durable, and were answered with 200",
    ("api",),
    Kind.COUNTER,
)
EVENTS_REPEATED = Metric(
    "relay_events_repeated_total",
    Source.INGRESS,
    "Events that had been accepted before, and were answered with 200",
    ("api",),
    Kind.COUNTER,
)
REQUESTS_REFUSED = Metric(
    "relay_requests_refused_total",
    Source.INGRESS,
    "Requests that were not accepted, by the status and code of the response",
    ("status", "code"),
    Kind.COUNTER,
)
ACCEPT_DURATION = Metric(
    "relay_accept_duration_seconds",
    Source.INGRESS,
    "Time from the last byte of an event until it is durable, of new and repeated ones",
    kind=Kind.HISTOGRAM,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
CONNECTIONS = Metric("relay_connections", Source.INGRESS, "Open connections of senders of webhooks")

# --- Worker ---------------------------------------------------------------------------------------

EVENTS_QUARANTINED = Metric(
    "relay_events_quarantined_total",
    Source.INGRESS_AND_WORKER,
    "Webhooks of Linq that could not be parsed: by the ingress, or by the worker that routes them",
    ("api",),
    Kind.COUNTER,
)
EVENTS_ROUTED = Metric(
    "relay_events_routed_total", Source.WORKER, "Events that were moved into at least one topic", kind=Kind.COUNTER
)
EVENTS_UNMATCHED = Metric(
    "relay_events_unmatched_total", Source.WORKER, "Events that matched no topic", kind=Kind.COUNTER
)
TOPIC_WHERE_FAILED = Metric(
    "relay_topic_where_failed_total",
    Source.WORKER,
    "Events for which the expression `where` of the topic had no result, so that the topic does not have them",
    ("topic",),
    Kind.COUNTER,
)
DELIVERY_ATTEMPTS = Metric(
    "relay_delivery_attempts_total",
    Source.WORKER,
    "POSTs to a subscriber that ended, by their outcome",
    ("subscription", "outcome"),
    Kind.COUNTER,
)
DELIVERY_ATTEMPT_DURATION = Metric(
    "relay_delivery_attempt_duration_seconds",
    Source.WORKER,
    "Time from the start of a POST to its outcome",
    ("subscription",),
    Kind.HISTOGRAM,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
DELIVERIES_IN_FLIGHT = Metric(
    "relay_deliveries_in_flight",
    Source.WORKER,
    "Deliveries whose POST, or the write of whose verdict, has not ended",
    ("subscription",),
)
SUBSCRIBER_CERTIFICATE_EXPIRY = Metric(
    "relay_subscriber_certificate_expiry_timestamp_seconds",
    Source.WORKER,
    "End of the certificate that the subscriber's server showed on the last new connection, Unix time; "
    "absent where none is verified",
    ("subscription",),
    combine="livemostrecent",
)

# --- Read from Redis ------------------------------------------------------------------------------

REDIS_UP = Metric("relay_redis_up", Source.REDIS, "1 if Redis answered in time")
REDIS_READ_COMPLETE = Metric(
    "relay_redis_read_complete",
    Source.REDIS,
    "1 if everything was read in time; if it is 0, metrics of topics, subscriptions and lines are absent",
)
REDIS_ROUND_TRIP = Metric("relay_redis_round_trip_seconds", Source.REDIS, "Time of one round trip to Redis")
REDIS_MEMORY_USED = Metric(
    "relay_redis_memory_used_bytes", Source.REDIS, "Memory of Redis that counts against maxmemory"
)
REDIS_MEMORY_MAX = Metric("relay_redis_memory_max_bytes", Source.REDIS, "maxmemory of Redis; 0 without a limit")
REDIS_PERSISTENCE_HEALTHY = Metric(
    "relay_redis_persistence_healthy",
    Source.REDIS,
    "1 if the append-only file is enabled and Redis can write it; absent where Redis does not tell",
)
REDIS_CONNECTED_REPLICAS = Metric("relay_redis_connected_replicas", Source.REDIS, "Replicas connected to Redis")

INBOX_EVENTS = Metric("relay_inbox_events", Source.REDIS, "Accepted events that are not routed yet")
INBOX_OLDEST_AGE = Metric(
    "relay_inbox_oldest_age_seconds",
    Source.REDIS,
    "Age of the oldest accepted event that is not routed yet (the routing lag); 0 if there is none",
)
QUARANTINE_ENTRIES = Metric("relay_quarantine_entries", Source.REDIS, "Webhooks in the quarantine")

TOPIC_EVENTS = Metric(
    "relay_topic_events_total",
    Source.REDIS,
    "Events that were ever moved into the topic; Redis counts them, so it outlives the processes",
    ("topic",),
    Kind.COUNTER,
)
TOPIC_ENTRIES = Metric("relay_topic_entries", Source.REDIS, "Events that the topic keeps", ("topic",))
TOPIC_BYTES = Metric("relay_topic_bytes", Source.REDIS, "Memory of the topic in Redis", ("topic",))
TOPIC_OLDEST_AGE = Metric(
    "relay_topic_oldest_age_seconds", Source.REDIS, "Time since the oldest kept event was routed", ("topic",)
)
TOPIC_CAP_RATIO = Metric(
    "relay_topic_cap_ratio",
    Source.REDIS,
    "Memory of the topic divided by its hard cap; at 1 its oldest events are deleted even if a group needs them",
    ("topic",),
)

SUBSCRIPTION_WAITING = Metric(
    "relay_subscription_waiting", Source.REDIS, "Deliveries without a finished attempt", _SUBSCRIPTION
)
SUBSCRIPTION_OLDEST_WAITING_AGE = Metric(
    "relay_subscription_oldest_waiting_age_seconds",
    Source.REDIS,
    "Time since the oldest of these was routed, or replayed; 0 if there is none",
    _SUBSCRIPTION,
)
SUBSCRIPTION_RETRYING = Metric(
    "relay_subscription_retrying", Source.REDIS, "Deliveries that wait for another attempt", _SUBSCRIPTION
)
SUBSCRIPTION_DEAD_LETTERS = Metric(
    "relay_subscription_dead_letters",
    Source.REDIS,
    "Dead letters that no operator has replayed or dropped",
    _SUBSCRIPTION,
)
SUBSCRIPTION_CIRCUIT_BREAKER_OPEN = Metric(
    "relay_subscription_circuit_breaker_open", Source.REDIS, "1 if the circuit breaker is not closed", _SUBSCRIPTION
)
SUBSCRIPTION_PAUSED = Metric(
    "relay_subscription_paused", Source.REDIS, "1 if an operator, relay.toml or a 410 paused it", _SUBSCRIPTION
)
SUBSCRIPTION_SUSPENDED = Metric(
    "relay_subscription_suspended",
    Source.REDIS,
    "1 if nothing is delivered because another client overwrote a key of it; its other metrics are then absent",
    _SUBSCRIPTION,
)
SUBSCRIPTION_SHADOW = Metric(
    "relay_subscription_shadow",
    Source.REDIS,
    "1 for a subscription that shadows another one (`shadow_of`), which no alert is about; absent for others",
    _SUBSCRIPTION,
)

PULL_GROUP_LAG = Metric("relay_pull_group_lag", Source.REDIS, "Events that the group has not read", _GROUP)
PULL_GROUP_PENDING = Metric(
    "relay_pull_group_pending", Source.REDIS, "Events that the group has read and not acknowledged", _GROUP
)
PULL_GROUP_OLDEST_UNREAD_AGE = Metric(
    "relay_pull_group_oldest_unread_age_seconds",
    Source.REDIS,
    "Time since the oldest event was routed that the group has not read; 0 if there is none",
    _GROUP,
)
PULL_GROUP_IDLE = Metric(
    "relay_pull_group_idle_seconds",
    Source.REDIS,
    "Time since any consumer of the group asked for events; absent if it never had a consumer",
    _GROUP,
)
PULL_GROUP_DEAD_LETTERS = Metric(
    "relay_pull_group_dead_letters", Source.REDIS, "Its kept dead letters, also of a group that is deleted", _GROUP
)

LINE_LAST_EVENT = Metric(
    "relay_line_last_event_timestamp_seconds", Source.REDIS, "Time of the line's last event, Unix time", _LINE
)
LINE_LAST_INBOUND = Metric(
    "relay_line_last_inbound_timestamp_seconds", Source.REDIS, "The same of what customers caused", _LINE
)
LINE_LAST_OUTBOUND = Metric(
    "relay_line_last_outbound_timestamp_seconds", Source.REDIS, "The same of messages of ours", _LINE
)
LINE_EVENTS_LAST_DAY = Metric("relay_line_events_last_day", Source.REDIS, "Events in the last 24 hours", _LINE)
LINE_EVENTS_USUAL_DAY = Metric(
    "relay_line_events_usual_day", Source.REDIS, "The same in its usual week; absent in its first two weeks", _LINE
)
LINE_SILENT = Metric(
    "relay_line_silent", Source.REDIS, "1 if it had no event for longer than is usual for it at these hours", _LINE
)
LINE_FLAGGED = Metric(
    "relay_line_flagged", Source.REDIS, "1 if Linq flagged it, or calls its reputation critical", _LINE
)
LINE_RELEASED = Metric(
    "relay_line_released", Source.REDIS, "1 if Linq took it: for a day, and while relay.toml or a secret has it", _LINE
)
LINE_OPT_OUTS = Metric("relay_line_opt_outs", Source.REDIS, "Handles that answered STOP, with `opt_outs`", _LINE)
LINQ_DRIFT = Metric(
    "relay_linq_drift",
    Source.REDIS,
    "Differences between the subscriptions at Linq and relay.toml at the last check",
    ("api", "kind"),
)
LINQ_LAST_CHECK = Metric(
    "relay_linq_last_check_timestamp_seconds", Source.REDIS, "Time of that check, Unix time", ("api",)
)
BACKFILLED_EVENTS = Metric(
    "relay_backfilled_events_total", Source.REDIS, "Messages that were put back; Redis counts them", kind=Kind.COUNTER
)
GAP_RUNS = Metric(
    "relay_gap_runs_total", Source.REDIS, "Runs that ended; Redis counts them", ("run", "end"), Kind.COUNTER
)
GAP_LAST_RUN = Metric(
    "relay_gap_last_run_timestamp_seconds", Source.REDIS, "Time of the last run's last progress, Unix time", _RUN
)
GAP_LAST_RUN_FAILED = Metric(
    "relay_gap_last_run_failed", Source.REDIS, "1 if it failed, or has made no progress for 15 minutes", _RUN
)
GAP_MESSAGES_MISSING = Metric(
    "relay_gap_messages_missing", Source.REDIS, "Messages for a topic that it found missing and left", ("account",)
)
OUTAGE_NOT_BACKFILLED = Metric(
    "relay_outage_not_backfilled_timestamp_seconds", Source.REDIS, "End of an outage that no run settled, Unix time"
)
CONTRACT_CHANGED = Metric(
    "relay_contract_changed",
    Source.REDIS,
    "1 for each change of an event type's payload that no operator has accepted",
    ("event_type", "payload_version", "change"),
)
LEDGER_IMBALANCE = Metric(
    "relay_ledger_imbalance",
    Source.REDIS,
    "Events of the subscription that the ledger cannot account for; 0 if it balances",
    ("subscription",),
)
LEDGER_EVENTS_IMBALANCE = Metric(
    "relay_ledger_events_imbalance", Source.REDIS, "The same of accepted events before they reach a topic"
)
LAST_SWEEP = Metric(
    "relay_last_sweep_timestamp_seconds",
    Source.REDIS,
    "Time when a worker last looked for work without a wake-up, Unix time; it does so every five seconds",
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order of this file."""
