"""Conditions of topics: what an event must have beyond its type and line."""
