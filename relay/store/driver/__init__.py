"""How Redis is spoken to: clients, scripts, leases and locks, streams."""
