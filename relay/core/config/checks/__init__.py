"""Mistakes in relay.toml, and where they are."""
