"""The fast path of ordinary webhooks."""
