"""Metrics for Prometheus: their names and labels (`declared`), and what a process counts on the path of an event."""
