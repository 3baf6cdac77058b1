"""Configuration as it is read: the environment, relay.toml and the secrets they refer to."""
