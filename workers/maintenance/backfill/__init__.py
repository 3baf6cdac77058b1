"""Backfills after an outage."""
