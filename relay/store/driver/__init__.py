"""Access to Redis: clients, scripts, leases and locks, streams."""
