"""The state of lines, gaps and backfills."""
