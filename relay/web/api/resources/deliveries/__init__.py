"""Push subscriptions, and what was sent to them."""
