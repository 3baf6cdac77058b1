"""The state of the whole relay, read from Redis with few round trips: for metrics and alerts."""
