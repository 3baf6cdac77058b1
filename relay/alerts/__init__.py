"""Alerts of the relay itself (`[alerts]` in relay.toml), for companies without Prometheus.

    samples and history  ->  conditions     which problems there are now
                         ->  lifecycle      which of them have lasted long enough, and which have ended
                         ->  message        the webhook about each
    state                                   what is firing, and the webhooks that are not sent yet, in Redis
    post                                    the POST, under the egress rules of push deliveries

Beginning, end and webhook are stored in one step, and webhooks are sent from there, oldest first, until the URL takes
them: a worker that dies in between loses nothing, and its successor repeats at most the one that was on its way, under
the same `webhook-id`.
"""

from __future__ import annotations

LEASE = "alerts"
"""The job id of the lease on the alerts."""
