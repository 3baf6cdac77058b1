"""State of push subscriptions: position, retries, suspensions, dead letters, attempts."""
