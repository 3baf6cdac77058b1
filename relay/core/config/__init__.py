"""The schema of relay.toml and its messages about mistakes."""
