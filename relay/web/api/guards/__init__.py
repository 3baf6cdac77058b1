"""Tokens, rate limits and idempotency keys of requests."""
