"""Timings: how long the loops and locks of a process wait, in one frozen record.

Each part of a process gets the record from its constructor; production runs on the defaults. Tests pass a record with
shorter times, and hand one to the processes that they start through `RELAY_TEST_TIMINGS`: a JSON object of field names
and seconds. That variable is no setting for operators, since the values depend on one another; only `load_timings`
reads it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from pydantic_core import from_json

_VARIABLE = "RELAY_TEST_TIMINGS"


@dataclass(frozen=True, slots=True)
class Timings:
    """Waits and time limits of a process, seconds."""

    lease: float = 5.0
    """From the last renewal of a lease to its end: five renewals may fail before a healthy worker loses its work."""
    lease_renew: float = 1.0
    """From one renewal of a lease to the next."""
    arq_lock: float = 5.5
    """From the last renewal to the moment when arq may start the job elsewhere, at its next poll, half a second later
    at most. It is longer than the lease, so that the new run can acquire the lease at once.
    """
    lease_retry: float = 1.0
    """Until a job that found its lease taken runs again: a renewal's interval, since it is freed no sooner."""
    router_block: float = 1.0
    """Time that one read of the inbox waits for an entry, and with it the longest delay until the router sees that it
    must stop.
    """
    ready_poll: float = 1.0
    """Time that a partition worker waits for a lane to be marked ready before it checks the time and the rules."""
    idle: float = 30.0
    """Time without work after which a drain ends. Its next event has to start it, so ending is kept rare."""
    run: float = 60.0
    """Time after which a drain ends at a quiet moment and is woken again, so that another worker can get it."""
    max_run: float = 3600.0
    """Time after which a partition worker does so at any moment: a lane that is never quiet must not keep it for ever.
    """
    grace: float = 20.0
    """Time that POSTs in flight have to end when their drain ends: twice an attempt's default timeout."""
    stop: float = 25.0
    """Time that the jobs of a worker have to end when the process stops: the grace, and some to write the outcome."""
    pending_count: float = 10.0
    """From one count of a lane's pending deliveries to the next: it finds what every other mechanism has missed."""
    replay_tick: float = 0.1
    """From one step of the replays to the next when the rate or the lane limits them."""
    replay_pause: float = 0.01
    """The same when nothing limits them: the other jobs of the process need their turn."""
    keep_alive: float = 4.0
    """Time that an idle connection to a subscriber is kept: less than the 5 s of Node.js, uvicorn and Apache, so that
    they do not close it under a POST.
    """
    outage: float = 1500.0
    """Time without an ingress that reaches Redis after which events are lost: Linq retries for 25 minutes."""
    suspended_poll: float = 1.0
    """From one look at the keys of a suspended lane to the next."""
    memory_probe: float = 0.5
    """From one probe to the next whether a Redis that was at `maxmemory` accepts writes again."""
    rights_check: float = 10.0
    """From one check of the rights at Redis to the next."""
    trim_while_full: float = 5.0
    """From one run of retention to the next while Redis is at `maxmemory`: trimming is what makes room."""
    config_poll: float = 1.0
    """From one check of relay.toml to the next: a stat costs microseconds and works on every mount."""
    accept_wait: float = 8.0
    """Time that a webhook waits for Redis before its response is 503; Linq waits ten seconds for a response. A stall of
    4 s at 500/s had 1,877 refusals with 0.8, 590 with 3, none with 5; one of 7 s had 1,259 with 5 and 332 with 8
    (deploy/docs/redis.md, "When Redis stalls").
    """
    accept_attempt: float = 2.0
    """Time that one batch of webhooks may take, before its connection is given up for a new one. Attempts of 0.7 and
    1.2 s ended before their answers were read on a machine short of CPU, so that a queue of thousands did not recover.
    """
    refusal_log: float = 1.0
    """Time that one log line of refused requests covers."""
    refusal_delay: float = 4.0
    """Mean delay of a refusal to a sender that is over its budget of failures: a sender that waits for responses sends
    no more than its connections divided by this. At most one and a half times as long, and shorter than the ten seconds
    that Linq waits.
    """
    request_head: float = 10.0
    """Time that the head of a request to the ingress may take, from its first byte, and a new connection until it sends
    one.
    """
    request_body: float = 30.0
    """Time that the body may take after it: 1 MiB at 35 kB/s."""
    process_report: float = 1.0
    """From one report of a process to the next, and with it the longest delay until it obeys an order to drain."""
    webhooks_quiet: float = 3.0
    """Time without a webhook after which an ingress that drains counts as out of the load balancer."""
    linger: float = 1.0
    """Time that the sender has to close a connection after its last response: closing it at once, with bytes unread,
    could destroy the response on its way.
    """
    drain_idle: float = 2.0
    """Time that a stopping ingress keeps idle connections, to answer what comes and to announce that it closes."""
    stream_heartbeat: float = 15.0
    """From one comment of a stream of the API to the next: less than proxies keep a silent connection."""
    stream_check: float = 3.0
    """From one look at the token of a stream to the next: a revoked one ends its streams within this."""
    stream_write: float = 10.0
    """Time that the client of a stream has to read what was written."""
    bootstrap_retry: float = 15.0
    """Until `relay up` tries again to register the lines at Linq."""
    bootstrap_poll: float = 1.0
    """From one check of `relay up` for changed rules to the next."""


DEFAULTS = Timings()
"""The timings of production."""


def load_timings() -> Timings:
    """Return the timings of this process: the defaults, with those that a test has shortened."""
    return Timings(**from_json(os.environ.get(_VARIABLE, "{}")))
