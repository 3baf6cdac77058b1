"""Many lanes in one call of Redis: a round trip for each costs more than the work."""
