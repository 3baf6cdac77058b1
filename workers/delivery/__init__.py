"""From a topic to its push subscriptions: sources of deliveries, flow control, and one worker for each lane."""
