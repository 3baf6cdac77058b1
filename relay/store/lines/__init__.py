"""The registry of lines: their activity by hour, what Linq tells of them, and who has opted out of them."""
