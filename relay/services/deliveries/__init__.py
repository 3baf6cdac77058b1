"""Services of subscriptions and of what they were sent."""
