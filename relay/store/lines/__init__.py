"""The registry of lines: their activity by hour, what Linq reports about them, and who has opted out of them."""
