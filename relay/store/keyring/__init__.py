"""Linq's signing secrets, encrypted at rest, and when each line was last seen."""
