"""The forms of REDIS_URL."""
