"""Secrets that variables and relay.toml refer to."""
