"""Care for our subscriptions at Linq: looks for drift, and reactions to account events."""
