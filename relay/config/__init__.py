"""Sources of configuration: the environment, relay.toml and the secrets that it refers to."""
