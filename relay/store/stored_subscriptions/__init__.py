"""Subscriptions made by the API: their records in Redis, beside those of relay.toml."""
