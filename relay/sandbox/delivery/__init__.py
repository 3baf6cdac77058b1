"""Webhook delivery as Linq does it: signatures, headers, retries."""
