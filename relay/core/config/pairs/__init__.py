"""Subscriptions that belong together, or get in each other's way: shadows with their originals, and two that reply."""
