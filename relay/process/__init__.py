"""Processes: event loop, tasks, child processes, logging, garbage collection, the embedded Redis."""
