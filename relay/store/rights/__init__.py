"""The rights at Redis of the relay and of those who look at it or pull from it."""
