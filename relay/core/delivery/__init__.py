"""Delivery policy without I/O: outcomes, retries, circuit breaker, rate, per-chat order."""
